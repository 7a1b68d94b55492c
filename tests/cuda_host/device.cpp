#include "tests/cuda_host/device.h"

#include <sys/mman.h>

#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/cuda_host/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)  // stands for the sanitizer's own, which does nothing without it
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

struct CUstream_st {
  std::deque<std::function<void()>> queue;
  size_t done = 0;  // pieces of work that have run or were dropped
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  size_t work = 0;  // how many pieces of work that stream had been given when the event was recorded
};

namespace cuda_host {

namespace {

constexpr size_t alignment = 256, gap = 256;
constexpr size_t reserved_bytes = size_t{16} << 30;

// One stretch of addresses, reserved once and given out first-fit. Behind every block lies a gap that the address
// sanitizer guards; without it, the gap's bytes are looked at when the block is freed.
class DeviceMemory {
 public:
  std::byte* allocate(size_t bytes) {
    reserve();
    const size_t need = (std::max<size_t>(bytes, 1) + gap + alignment - 1) / alignment * alignment;
    if (used_ + bytes > machinery().memory_bytes) return nullptr;
    size_t offset = 0;
    for (const auto& [begin, block] : blocks_) {
      if (begin - offset >= need) break;
      offset = begin + block.whole;
    }
    if (offset + need > reserved_bytes) return nullptr;
    blocks_[offset] = {bytes, need};
    used_ += bytes;
    if (!machinery().computes) return base_ + offset;
    const bool was_open = open_;
    protect(true);
    ASAN_UNPOISON_MEMORY_REGION(base_ + offset, need);
    std::memset(base_ + offset, 0xff, need);
    ASAN_POISON_MEMORY_REGION(base_ + offset + bytes, need - bytes);
    protect(was_open);
    return base_ + offset;
  }

  // False if this is no block; throws if something wrote behind it.
  bool release(void* data) {
    const auto found = blocks_.find(static_cast<size_t>(static_cast<std::byte*>(data) - base_));
    if (found == blocks_.end()) return false;
    const auto [offset, block] = *found;
    blocks_.erase(found);
    used_ -= block.bytes;
    if (!machinery().computes) return true;
    protect(true);
    ASAN_UNPOISON_MEMORY_REGION(base_ + offset, block.whole);
    bool intact = true;
    for (size_t i = block.bytes; i < block.whole; ++i) intact = intact && base_[offset + i] == std::byte{0xff};
    protect(false);
    if (!intact) throw std::runtime_error("a kernel wrote behind a device allocation");
    return true;
  }

  bool contains(const void* address) const {
    const auto* at = static_cast<const std::byte*>(address);
    if (!base_ || at < base_ || at >= base_ + reserved_bytes) return false;
    auto after = blocks_.upper_bound(static_cast<size_t>(at - base_));
    if (after == blocks_.begin()) return false;
    const auto& [offset, block] = *std::prev(after);
    return static_cast<size_t>(at - base_) < offset + block.whole;
  }

  size_t used() const { return used_; }

  void protect(bool open) {
    if (open == open_ || (!open && !machinery().guard)) return;
    mprotect(base_, reserved_bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
    open_ = open;
  }

 private:
  struct Block {
    size_t bytes, whole;
  };

  void reserve() {
    if (base_) return;
    void* memory = mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::byte*>(memory);
  }

  std::byte* base_ = nullptr;
  std::map<size_t, Block> blocks_;
  size_t used_ = 0;
  bool open_ = false;
};

struct Device {
  Machinery machinery;
  DeviceMemory memory;
  CUstream_st null_stream;
  std::vector<std::unique_ptr<CUstream_st>> streams;  // kept when destroyed, since events may outlive their stream
  std::string error;
  size_t launches = 0, queued = 0;
};

Device& device() {
  static Device the_device;
  return the_device;
}

CUstream_st& stream_of(cudaStream_t stream) { return stream ? *stream : device().null_stream; }

// In order, until so many pieces of work are done. A piece that waits for another stream runs that one's.
void run_stream(CUstream_st& stream, size_t until) {
  while (stream.done < until && !stream.queue.empty()) {
    const std::function<void()> work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.done;
    work();
  }
}

size_t given(const CUstream_st& stream) { return stream.done + stream.queue.size(); }

cudaError_t run_to(CUstream_st& stream, size_t until) {
  Device& self = device();
  if (stream.done >= until) return cudaSuccess;
  self.memory.protect(true);
  cudaError_t result = cudaSuccess;
  try {
    run_stream(stream, until);
  } catch (const std::exception& error) {
    self.error = error.what();
    result = cudaErrorLaunchFailure;
    stream.done = given(stream);
    stream.queue.clear();
  }
  self.memory.protect(false);
  return result;
}

cudaError_t run_all_of(CUstream_st& stream) { return run_to(stream, given(stream)); }

cudaError_t run_device() {
  cudaError_t result = run_all_of(device().null_stream);
  for (const std::unique_ptr<CUstream_st>& stream : device().streams) {
    const cudaError_t error = run_all_of(*stream);
    if (result == cudaSuccess) result = error;
  }
  return result;
}

}  // namespace

void enqueue(cudaStream_t stream, std::function<void()> work) {
  ++device().queued;
  if (machinery().computes) stream_of(stream).queue.push_back(std::move(work));
}

Machinery& machinery() { return device().machinery; }

size_t launches() { return device().launches; }

size_t queued() { return device().queued; }

cudaError_t launch(const cudaLaunchConfig_t& config, std::function<void()> thread) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const size_t threads = size_t{block.x} * block.y * block.z;
  constexpr unsigned most_shared = 227 << 10;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || config.dynamicSmemBytes > most_shared) {
    return cudaErrorInvalidConfiguration;
  }
  ++device().launches;
  enqueue(config.stream, [config, thread = std::move(thread)] { machine().run(config, thread); });
  return cudaSuccess;
}

}  // namespace cuda_host

using cuda_host::device;
using cuda_host::given;
using cuda_host::run_all_of;
using cuda_host::stream_of;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      return device().error.c_str();
  }
  return "unknown error";
}

cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  if (!device().machinery.driver) return cudaErrorInsufficientDriver;
  *count = device().machinery.devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int index) {
  return index >= 0 && index < device().machinery.devices ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  if (cudaSetDevice(index) != cudaSuccess) return cudaErrorInvalidDevice;
  *properties = {"CUDA on the host", device().machinery.memory_bytes, 9, 0, 4};
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = device().machinery.memory_bytes;
  *free = *total - device().memory.used();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  *data = device().memory.allocate(bytes);
  return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFree(void* data) {
  const cudaError_t error = cuda_host::run_device();  // cudaFree waits for the device
  if (error != cudaSuccess || !data) return error;
  try {
    return device().memory.release(data) ? cudaSuccess : cudaErrorInvalidValue;
  } catch (const std::exception& complaint) {
    device().error = complaint.what();
    return cudaErrorLaunchFailure;
  }
}

cudaError_t cudaMallocHost(void** data, size_t bytes) {
  *data = std::malloc(std::max<size_t>(bytes, 1));
  return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void* data) {
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (bytes == 0) return cudaSuccess;
  if (device().memory.contains(to) != to_device || device().memory.contains(from) != from_device) {
    return cudaErrorInvalidValue;
  }
  if (!device().machinery.computes && kind == cudaMemcpyDeviceToHost) {
    std::fill_n(static_cast<float*>(to), bytes / sizeof(float), 1.0F);
  }
  cuda_host::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* data, int byte, size_t bytes, cudaStream_t stream) {
  if (bytes != 0 && !device().memory.contains(data)) return cudaErrorInvalidValue;
  cuda_host::enqueue(stream, [=] { std::memset(data, byte, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = device().streams.emplace_back(std::make_unique<CUstream_st>()).get();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) { return run_all_of(stream_of(stream)); }

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return run_all_of(stream_of(stream)); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!event->stream) return cudaSuccess;
  const CUevent_st until = *event;  // as it is now: it may be recorded again
  stream_of(stream).queue.emplace_back([until] { cuda_host::run_stream(*until.stream, until.work); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = &stream_of(stream);
  event->work = given(*event->stream);
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return event->stream ? cuda_host::run_to(*event->stream, event->work) : cudaSuccess;
}
