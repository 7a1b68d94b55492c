#include "kernels/cuda/cuda_kernels.h"

#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_state.h"

namespace hp {

CudaKernels::CudaKernels(CudaOptions options) : state_(std::make_unique<CudaState>(std::move(options))) {}

CudaKernels::~CudaKernels() = default;

std::string CudaKernels::device_name() const { return state_->properties().name; }

size_t CudaKernels::memory_bytes() const { return state_->properties().totalGlobalMem; }

Device CudaKernels::device() const { return Device::cuda; }

Storage CudaKernels::allocate(size_t bytes) { return allocate_on_device(bytes); }

void CudaKernels::upload(const void* host, size_t bytes, void* device) { state_->upload(host, bytes, device); }

void CudaKernels::download(const void* device, size_t bytes, void* host) { state_->download(device, bytes, host); }

void CudaKernels::copy(const void* from, size_t bytes, void* to) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, state_->stream()), "copy");
}

void CudaKernels::synchronize() { check(cudaStreamSynchronize(state_->stream()), "a kernel"); }

}  // namespace hp
