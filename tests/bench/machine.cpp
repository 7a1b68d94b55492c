#include "tests/bench/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <thread>

#include "kernels/cpu/parallel.h"
#include "tests/bench/loops_peak.h"

namespace hp::bench {

namespace {

constexpr double smallest_copy = 1 << 16, largest_copy = 1 << 28;  // bytes read and written

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

std::string name_of(Isa isa) {
  if (isa == Isa::avx512) return "AVX-512";
  return isa == Isa::avx2 ? "AVX2" : "baseline";
}

}  // namespace

double Clock::seconds_of(const std::function<void()>& run) const {
  const clockid_t id = processor_time_ ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  timespec begin{}, end{};
  clock_gettime(id, &begin);
  run();
  clock_gettime(id, &end);
  return static_cast<double>(end.tv_sec - begin.tv_sec) + 1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
}

Machine describe_machine(const CpuKernels& kernels, bool processor_time) {
  Machine machine;
  machine.cpu = processor();
  machine.instruction_set = name_of(kernels.isa());
  machine.cores = static_cast<int>(std::thread::hardware_concurrency());
  machine.threads = kernels.threads();
  if (getloadavg(&machine.load_average, 1) != 1) machine.load_average = 0;
  machine.clock = processor_time ? "processor" : "wall";
  return machine;
}

std::string load_warning(const Machine& machine) {
  if (machine.load_average < 0.2) return {};
  return fmt::format("the machine is not idle (load average {:.1f} on {} cores): only minima mean something",
                     machine.load_average, machine.cores);
}

std::string text_of(const Machine& machine) {
  return fmt::format("{}, {}, {} of {} cores, {} time", machine.cpu, machine.instruction_set, machine.threads,
                     machine.cores, machine.clock);
}

void LimitMeter::measure_flops(Limits& limits) {
  const PeakLoops& inner = loops_for<PeakLoops>(kernels_.isa());
  constexpr int64_t steps = 1'000'000;
  const int threads = kernels_.threads();
  sums_.resize(static_cast<size_t>(threads));
  const double seconds = clock_.seconds_of([&] {
    parallel_chunks(threads, threads, 1, [&](int chunk, int64_t, int64_t) {
      sums_[static_cast<size_t>(chunk)] = inner.multiply_add(steps, 0.9999F, 1e-6F);
    });
  });
  limits.flops.push_back(static_cast<double>(steps * inner.flops_per_step * threads) / seconds);
}

void LimitMeter::measure_copies(Limits& limits) {
  constexpr double bytes_a_sample = 1 << 26;  // smaller copies are repeated
  constexpr size_t most = static_cast<size_t>(largest_copy) / 2 / sizeof(float);
  from_.resize(most, 1.0F);
  to_.resize(most);
  size_t index = 0;
  for (double bytes = smallest_copy; bytes <= largest_copy; bytes *= 4, ++index) {
    if (limits.copies.size() <= index) limits.copies.push_back({bytes, 0});
    const auto half = static_cast<int64_t>(bytes / 2 / sizeof(float));
    const int calls = static_cast<int>(std::max(1.0, bytes_a_sample / bytes));
    const auto copy = [&] {
      parallel_chunks(kernels_.threads(), half, 1, [&](int, int64_t begin, int64_t end) {
        std::memcpy(to_.data() + begin, from_.data() + begin, static_cast<size_t>(end - begin) * sizeof(float));
      });
    };
    copy();
    const double seconds = clock_.seconds_of([&] {
      for (int call = 0; call < calls; ++call) copy();
    });
    double& best = limits.copies[index].bytes_per_second;
    best = std::max(best, bytes * calls / seconds);
  }
}

}  // namespace hp::bench
