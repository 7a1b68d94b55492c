#include "kernels/cuda/cuda_state.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "kernels/cuda/check.h"
#include "runtime/error.h"

namespace hp {

namespace {

constexpr size_t staging_bytes = size_t{8} << 20;
constexpr size_t smallest_scratch = size_t{1} << 16;
constexpr double mebibyte = 1 << 20;

void free_on_device(void* data, size_t) { cudaFree(data); }  // nothing to be done about a failure here

void* at_least(size_t bytes, Storage& storage) {
  if (!storage.data() || storage.bytes() < bytes) {
    storage = Storage();  // first, so that both need not fit
    storage = allocate_on_device(std::max(bytes, smallest_scratch));
  }
  return storage.data();
}

void select_device(int device) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  require(status == cudaSuccess && count > 0,
          "[cuda] no GPU can be used; got '{}'; expected an NVIDIA GPU and its driver: run with --device cpu",
          cudaGetErrorString(status));
  require(device >= 0 && device < count, "[cuda] no such device; got cuda:{}; expected cuda:0 to cuda:{}", device,
          count - 1);
  check(cudaSetDevice(device), "cudaSetDevice");
}

}  // namespace

Storage allocate_on_device(size_t bytes) {
  void* data = nullptr;
  if (cudaMalloc(&data, std::max<size_t>(bytes, 1)) != cudaSuccess) {
    cudaGetLastError();  // an allocation that failed spoils nothing
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    fail(
        "[cuda] too little device memory; got {:.0f} MiB free of {:.0f} MiB; expected {:.0f} MiB in one piece: lower "
        "the "
        "batch size or the number of targets in flight",
        static_cast<double>(free) / mebibyte, static_cast<double>(total) / mebibyte,
        static_cast<double>(bytes) / mebibyte);
  }
  return Storage(data, bytes, Device::cuda, free_on_device);
}

CudaState::CudaState(CudaOptions options) : options_(std::move(options)) {
  select_device(options_.device);
  check(cudaGetDeviceProperties(&properties_, options_.device), "cudaGetDeviceProperties");
  for (cudaStream_t* stream : {&stream_, &copies_}) {
    check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  for (Staging& staging : staging_) {
    check(cudaMallocHost(&staging.host, staging_bytes), "cudaMallocHost");
    for (cudaEvent_t* event : {&staging.arrived, &staging.taken}) {
      check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    }
  }
}

CudaState::~CudaState() {
  cudaStreamSynchronize(stream_);
  cudaStreamSynchronize(copies_);
  for (const Staging& staging : staging_) {
    cudaEventDestroy(staging.arrived);
    cudaEventDestroy(staging.taken);
    cudaFreeHost(staging.host);
  }
  cublas_.reset();
  cudnn_.reset();
  cudaStreamDestroy(copies_);
  cudaStreamDestroy(stream_);
}

unsigned CudaState::blocks(int64_t wanted) const {
  constexpr int64_t per_multiprocessor = 16;
  return static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, per_multiprocessor * properties_.multiProcessorCount));
}

void* CudaState::scratch(Scratch purpose, size_t bytes) {
  return at_least(bytes, scratch_[static_cast<size_t>(purpose)]);
}

const float* CudaState::zeros(int64_t count) {
  const Storage& storage = scratch_[static_cast<size_t>(Scratch::zeros)];
  const size_t before = storage.bytes(), bytes = static_cast<size_t>(count) * sizeof(float);
  auto* data = static_cast<float*>(scratch(Scratch::zeros, bytes));
  if (storage.bytes() != before) {
    check(cudaMemsetAsync(data, 0, storage.bytes(), stream_), "cudaMemsetAsync");
  }
  return data;
}

// Its memory is free once what lay there has been taken.
CudaState::Staging& CudaState::next_staging() {
  Staging& staging = staging_[next_staging_];
  next_staging_ = (next_staging_ + 1) % staging_.size();
  check(cudaEventSynchronize(staging.taken), "an upload");
  return staging;
}

void CudaState::upload(const void* host, size_t bytes, void* device) {
  for (size_t done = 0; done < bytes; done += staging_bytes) {
    const size_t part = std::min(staging_bytes, bytes - done);
    Staging& staging = next_staging();
    void* waiting = at_least(part, staging.device);
    std::memcpy(staging.host, static_cast<const std::byte*>(host) + done, part);
    check(cudaMemcpyAsync(waiting, staging.host, part, cudaMemcpyHostToDevice, copies_), "an upload");
    check(cudaEventRecord(staging.arrived, copies_), "an upload");
    check(cudaStreamWaitEvent(stream_, staging.arrived), "an upload");
    check(cudaMemcpyAsync(static_cast<std::byte*>(device) + done, waiting, part, cudaMemcpyDeviceToDevice, stream_),
          "an upload");
    check(cudaEventRecord(staging.taken, stream_), "an upload");
  }
}

void CudaState::download(const void* device, size_t bytes, void* host) {
  for (size_t done = 0; done < bytes; done += staging_bytes) {
    const size_t part = std::min(staging_bytes, bytes - done);
    const Staging& staging = next_staging();
    check(cudaMemcpyAsync(staging.host, static_cast<const std::byte*>(device) + done, part, cudaMemcpyDeviceToHost,
                          stream_),
          "a download");
    check(cudaStreamSynchronize(stream_), "a kernel or download");
    std::memcpy(static_cast<std::byte*>(host) + done, staging.host, part);
  }
}

}  // namespace hp
