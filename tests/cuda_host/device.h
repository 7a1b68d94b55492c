// The emulated device: memory that only device code may touch, and streams of work that runs when somebody waits.
//
// Work (launches, copies, library calls) is queued in its stream and runs when the host or another stream waits for it,
// as late as it may: who forgets to wait reads stale data. Device memory is filled with NaN when allocated. Where a
// test asks for it, device memory is unreadable except while the queue runs: a host loop over device data faults, as it
// would with a GPU.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <functional>

#include "cuda_runtime.h"

namespace cuda_host {

void enqueue(cudaStream_t stream, std::function<void()> work);

// What the next CudaKernels find: tests of what goes wrong set these, and set them back.
struct Machinery {
  bool driver = true;
  int devices = 1;
  size_t memory_bytes = size_t{4} << 30;
  // Device memory is unreadable for the host; costs two system calls per wait. HP_CUDA_HOST_GUARD sets it for programs.
  bool guard = std::getenv("HP_CUDA_HOST_GUARD") != nullptr;
  // Otherwise what is queued is counted and dropped, device memory is nothing but addresses, and downloads give ones.
  bool computes = true;
};
Machinery& machinery();

// Since the program began:
size_t launches();  // kernels of the project
size_t queued();    // pieces of work: these, calls of the libraries, copies

}  // namespace cuda_host
