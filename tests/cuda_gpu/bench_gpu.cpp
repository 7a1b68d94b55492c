// Times every declared case on a GPU, as shares of what this GPU can do: bench_gpu prints a page in Markdown.
//
// The limits are measured first: the copy of a large array, and a large matrix product. A case that states its
// operations is compared with the product's rate, the others by bytes with the copy's. What fits into the cache may
// pass 100 %.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "kernels/cuda/cuda_kernels.h"
#include "runtime/error.h"
#include "tests/cases/cases.h"

namespace {

using namespace hp;

// Median seconds of one call, over nine samples of as many calls as fill a millisecond.
template <class Call>
double seconds_of(Kernels& kernels, Call call) {
  const auto sample = [&](int calls) {
    kernels.synchronize();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    kernels.synchronize();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
  };
  sample(1);
  const int calls = static_cast<int>(std::clamp(1e-3 / std::max(sample(1), 1e-7), 1.0, 1000.0));
  std::vector<double> samples;
  for (int i = 0; i < 9; ++i) samples.push_back(sample(calls));
  std::ranges::sort(samples);
  return samples[samples.size() / 2];
}

double copy_rate(Kernels& kernels) {  // bytes read and written per second
  constexpr size_t bytes = size_t{1} << 30;
  const Storage from = kernels.allocate(bytes), to = kernels.allocate(bytes);
  kernels.fill(bytes / 4, 1, reinterpret_cast<float*>(from.data()));
  return 2.0 * bytes / seconds_of(kernels, [&] { kernels.copy(from.data(), bytes, to.data()); });
}

double product_rate(Kernels& kernels) {  // operations per second
  constexpr int64_t n = 8192;
  const Storage storage = kernels.allocate(3 * n * n * sizeof(float));
  auto* a = reinterpret_cast<float*>(storage.data());
  kernels.fill(2 * n * n, 1, a);
  const Matmul matmul{.m = n, .n = n, .k = n};
  return 2.0 * n * n * n / seconds_of(kernels, [&] { kernels.matmul(matmul, a, a + n * n, a + 2 * n * n); });
}

void print_page(CudaKernels& kernels) {
  const double bytes_rate = copy_rate(kernels), flops_rate = product_rate(kernels);
  fmt::print("# {}\n\nMeasured limits: copy {:.0f} GB/s, matrix product {:.1f} TFLOP/s (float32).\n\n",
             kernels.device_name(), bytes_rate * 1e-9, flops_rate * 1e-12);
  fmt::print("| case | microseconds | rate | share of the limit |\n|---|---|---|---|\n");
  for (const cases::Family& family : cases::all_families()) {
    for (const cases::KernelCase& kernel_case : family.make()) {
      cases::PreparedCase prepared(kernels, kernel_case);
      const double seconds = seconds_of(kernels, [&] { prepared.run(); });
      const bool by_flops = kernel_case.flops > 0;
      const double rate = (by_flops ? kernel_case.flops : cases::bytes_moved(kernel_case)) / seconds;
      fmt::print("| {} | {:.1f} | {:.1f} {} | {:.0f} % |\n", kernel_case.name, seconds * 1e6, rate * 1e-9,
                 by_flops ? "GFLOP/s" : "GB/s", 100 * rate / (by_flops ? flops_rate : bytes_rate));
    }
  }
}

}  // namespace

int main() {
  try {
    CudaKernels kernels;
    print_page(kernels);
  } catch (const Error& error) {
    fmt::print(stderr, "bench_gpu: {}\n", error.what());
    return 1;
  }
  return 0;
}
