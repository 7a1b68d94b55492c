// CudaState: what the CUDA kernels keep between calls: streams, device scratch, pinned staging, library handles.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <memory>

#include "kernels/cuda/cuda_kernels.h"

namespace hp {

class CublasState;  // matmul_cublas.cpp
class CudnnState;   // conv_cudnn.cpp
struct FreeCublas {
  void operator()(CublasState* state) const;
};
struct FreeCudnn {
  void operator()(CudnnState* state) const;
};

class CudaState {
 public:
  explicit CudaState(CudaOptions options);
  ~CudaState();
  CudaState(const CudaState&) = delete;
  CudaState& operator=(const CudaState&) = delete;

  cudaStream_t stream() const { return stream_; }
  MathMode math() const { return options_.math; }
  const cudaDeviceProp& properties() const { return properties_; }

  // As many blocks as there is work for, but no more than keep the device busy: kernels loop over the rest.
  unsigned blocks(int64_t wanted) const;

  // Device memory that is valid until the next call with the same purpose on the same stream. It only grows, so that a
  // steady state allocates nothing. Kernels that call others must not share a purpose with them.
  enum class Scratch {
    sums,
    filter,
    sort_keys,
    sorted_keys,
    library,
    zeros,
    weight_gradient,
    rounded,
    rounded_message,
    head_pointers,
    count
  };
  void* scratch(Scratch purpose, size_t bytes);
  const float* zeros(int64_t count);  // device memory that holds this many zeros

  // Copies through pinned memory. An upload crosses the bus on a stream of its own, beside whatever computes, and waits
  // on the device until the stream of the kernels takes it: it is ordered like any kernel, but neither the host nor the
  // bus waits for what was queued before.
  void upload(const void* host, size_t bytes, void* device);
  void download(const void* device, size_t bytes, void* host);

  CublasState& cublas();
  CudnnState& cudnn();

 private:
  struct Staging {
    void* host = nullptr;  // pinned
    Storage device;
    cudaEvent_t arrived = nullptr;  // on the stream of copies: the bytes are in `device`
    cudaEvent_t taken = nullptr;    // on the stream of kernels: they are where they belong
  };
  Staging& next_staging();

  CudaOptions options_;
  cudaDeviceProp properties_{};
  cudaStream_t stream_ = nullptr, copies_ = nullptr;
  std::array<Staging, 4> staging_;  // together a batch of 32 images
  size_t next_staging_ = 0;
  std::array<Storage, static_cast<size_t>(Scratch::count)> scratch_;
  std::unique_ptr<CublasState, FreeCublas> cublas_;
  std::unique_ptr<CudnnState, FreeCudnn> cudnn_;
};

// cudaMalloc, with an error that says what would fit.
Storage allocate_on_device(size_t bytes);

}  // namespace hp
