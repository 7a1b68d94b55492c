#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "runtime/error.h"
#include "tests/bench/run.h"
#include "tests/cases/cases.h"

namespace hp::bench {

namespace {

constexpr double shortest_sample = 2e-4;  // seconds: shorter calls are repeated within a sample

struct TimedCase {
  cases::KernelCase kernel_case;
  std::unique_ptr<cases::PreparedCase> prepared;
  Reading reading;
  int calls = 1;
};

double seconds_of(TimedCase& timed, CpuKernels& kernels, const Clock& clock) {
  return clock.seconds_of([&] {
    for (int call = 0; call < timed.calls; ++call) timed.prepared->run();
    kernels.synchronize();
  }) / timed.calls;
}

std::vector<TimedCase> cases_matching(const std::string& filter) {
  std::vector<TimedCase> all;
  for (const cases::Family& family : cases::all_families()) {
    for (cases::KernelCase& kernel_case : family.make()) {
      const std::string name = family.name + ": " + kernel_case.name;
      if (name.find(filter) == std::string::npos) continue;
      Reading reading{.kind = Reading::Kind::kernel,
                      .name = name,
                      .flops = kernel_case.flops,
                      .bytes = cases::bytes_moved(kernel_case)};
      all.push_back({std::move(kernel_case), nullptr, std::move(reading)});
    }
  }
  require(!all.empty(), "[bench] no declared case has '{}' in its name; names are \"family: case\"", filter);
  return all;
}

}  // namespace

BenchReport run_kernels(CpuKernels& kernels, const RunOptions& options, const Progress& progress) {
  const auto begin = std::chrono::steady_clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
  BenchReport report;
  report.machine = describe_machine(kernels, options.processor_time);
  const Clock clock(options.processor_time);
  LimitMeter meter(kernels, clock);
  std::vector<TimedCase> all = cases_matching(options.filter);
  for (TimedCase& timed : all) {
    timed.prepared = std::make_unique<cases::PreparedCase>(kernels, timed.kernel_case);
    timed.prepared->run();  // allocates scratch memory, makes primitives
    const double warm = seconds_of(timed, kernels, clock);
    timed.calls = static_cast<int>(std::clamp(shortest_sample / std::max(warm, 1e-9), 1.0, 10000.0));
  }
  for (int round = 0; round < options.repeats; ++round) {
    if (round > 0 && options.budget > 0 && spent() > options.budget) break;
    progress(fmt::format("round {} of {}", round + 1, options.repeats));
    meter.measure_flops(report.limits);
    if (round < 3) meter.measure_copies(report.limits);
    for (TimedCase& timed : all) {
      timed.prepared->run();  // brings its data into the caches that the other cases left
      timed.reading.samples.push_back(seconds_of(timed, kernels, clock));
    }
  }
  for (TimedCase& timed : all) report.readings.push_back(std::move(timed.reading));
  return report;
}

std::string kernels_table(const BenchReport& report) {
  std::string text = fmt::format("{:<78}{:>11}{:>11}{:>17}{:>10}\n", "case", "min us", "median us", "rate", "of limit");
  for (const Reading& reading : report.readings) {
    const double best = minimum(reading.samples);
    const std::string rate = reading.flops > 0 ? fmt::format("{:.1f} GFLOP/s", reading.flops / best * 1e-9)
                                               : fmt::format("{:.1f} GB/s", reading.bytes / best * 1e-9);
    // Operations against the peak where the case counts them, otherwise bytes against a copy of as many.
    const double limit = reading.flops > 0 ? report.limits.shortest_seconds(reading.flops, 0)
                                           : report.limits.shortest_seconds(0, reading.bytes);
    text += fmt::format("{:<78}{:11.2f}{:11.2f}{:>17}{:8.1f} %\n", reading.name, best * 1e6,
                        median(reading.samples) * 1e6, rate, 100 * limit / best);
  }
  return text;
}

}  // namespace hp::bench
