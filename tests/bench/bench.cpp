// Times every declared kernel case on the CPU: bench [--once] [part of a case's or a family's name]
//
// Per case: median and minimum of nine samples after a warm-up, and the rate of the median: GFLOP/s where the case
// states its operations, otherwise GB/s of inputs and outputs. Small cases are called several times per sample.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "tests/cases/cases.h"

namespace {

using namespace hp;

struct Options {
  bool once = false;
  std::string_view filter;
};

struct Timing {
  double median = 0, minimum = 0;  // seconds per call
};

double seconds_of(Kernels& kernels, cases::PreparedCase& prepared, int calls) {
  const auto begin = std::chrono::steady_clock::now();
  for (int call = 0; call < calls; ++call) prepared.run();
  kernels.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
}

Timing time_case(Kernels& kernels, const cases::KernelCase& kernel_case, bool once) {
  constexpr double shortest_sample = 1e-4;
  constexpr int sample_count = 9;
  cases::PreparedCase prepared(kernels, kernel_case);
  seconds_of(kernels, prepared, 1);  // allocates scratch memory, makes primitives, wakes the threads
  const double warm = seconds_of(kernels, prepared, 1);
  if (once) return {warm, warm};
  const int calls = static_cast<int>(std::clamp(shortest_sample / std::max(warm, 1e-9), 1.0, 10000.0));
  std::vector<double> samples;
  for (int sample = 0; sample < sample_count; ++sample) samples.push_back(seconds_of(kernels, prepared, calls));
  std::ranges::sort(samples);
  return {samples[sample_count / 2], samples.front()};
}

std::string rate_of(const cases::KernelCase& kernel_case, const Timing& timing) {
  if (kernel_case.flops > 0) return fmt::format("{:8.1f} GFLOP/s", kernel_case.flops / timing.median * 1e-9);
  return fmt::format("{:8.1f} GB/s", cases::bytes_moved(kernel_case) / timing.median * 1e-9);
}

std::string_view name_of(Isa isa) {
  if (isa == Isa::avx512) return "AVX-512";
  return isa == Isa::avx2 ? "AVX2" : "baseline";
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--once") {
      options.once = true;
    } else {
      options.filter = argument;
    }
  }
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  const Options options = parse(count, arguments);
  CpuKernels kernels;
  fmt::print("CPU, {} threads, {}\n", kernels.threads(), name_of(kernels.isa()));
  fmt::print("{:<72}{:>12}{:>12}\n", "case", "median us", "minimum us");
  int timed = 0;
  for (const cases::Family& family : cases::all_families()) {
    const bool whole_family = family.name.find(options.filter) != std::string::npos;
    for (const cases::KernelCase& kernel_case : family.make()) {
      if (!whole_family && kernel_case.name.find(options.filter) == std::string::npos) continue;
      const Timing timing = time_case(kernels, kernel_case, options.once);
      fmt::print("{:<72}{:12.2f}{:12.2f}  {}\n", kernel_case.name, timing.median * 1e6, timing.minimum * 1e6,
                 rate_of(kernel_case, timing));
      std::fflush(stdout);
      ++timed;
    }
  }
  if (timed == 0) fmt::print("no case or family has '{}' in its name\n", options.filter);
  return timed == 0;
}
