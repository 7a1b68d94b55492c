// The machine: what it is, what it can do at most, and how busy others keep it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "tests/bench/report.h"

namespace hp::bench {

// Seconds by the wall clock, or of processor time, which other programs on a busy machine disturb less (one thread).
class Clock {
 public:
  explicit Clock(bool processor_time) : processor_time_(processor_time) {}
  double seconds_of(const std::function<void()>& run) const;

 private:
  bool processor_time_;
};

Machine describe_machine(const CpuKernels&, bool processor_time);
// A sentence if others keep the machine busy; empty if not.
std::string load_warning(const Machine&);
std::string text_of(const Machine&);

// Measures limits, a little more with every call.
class LimitMeter {
 public:
  LimitMeter(CpuKernels& kernels, Clock clock) : kernels_(kernels), clock_(clock) {}

  void measure_flops(Limits&);   // adds a sample: a loop of multiply-adds in registers on every thread
  void measure_copies(Limits&);  // keeps the best rate of each size, 64 KiB to 256 MiB of traffic

 private:
  CpuKernels& kernels_;
  Clock clock_;
  std::vector<float> sums_;
  std::vector<float> from_, to_;
};

}  // namespace hp::bench
