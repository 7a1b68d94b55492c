#include "kernels/cpu/cpu_kernels.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/parallel.h"

namespace hp {

namespace {

// A chunk that takes longer to move than a thread takes to wake.
constexpr int64_t bytes_per_thread = 1 << 18;

}  // namespace

CpuKernels::CpuKernels(CpuOptions options)
    : threads_(options.threads > 0 ? options.threads : omp_get_max_threads()),
      isa_(detect_isa()),
      dnnl_(std::make_unique<DnnlState>(threads_)) {}

CpuKernels::~CpuKernels() = default;

Device CpuKernels::device() const { return Device::cpu; }

Storage CpuKernels::allocate(size_t bytes) { return allocate_host(bytes); }

void CpuKernels::upload(const void* host, size_t bytes, void* device) { copy(host, bytes, device); }

void CpuKernels::download(const void* device, size_t bytes, void* host) { copy(device, bytes, host); }

void CpuKernels::copy(const void* from, size_t bytes, void* to) {
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  parallel_for(threads_, static_cast<int64_t>(bytes), bytes_per_thread,
               [=](int64_t begin, int64_t end) { std::memcpy(target + begin, source + begin, end - begin); });
}

void CpuKernels::fill(int64_t n, float value, float* y) {
  parallel_for(threads_, n, bytes_per_thread / sizeof(float),
               [=](int64_t begin, int64_t end) { std::fill(y + begin, y + end, value); });
}

void CpuKernels::synchronize() {}  // every kernel has finished when it returns

}  // namespace hp
