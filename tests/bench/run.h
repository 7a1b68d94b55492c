// Running measurements: rounds over all kernels or works, interleaved, so that all of them see the same load.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "tests/bench/machine.h"
#include "tests/bench/report.h"
#include "tests/bench/works.h"

namespace hp::bench {

struct RunOptions {
  std::string filter;  // part of a name; empty: everything
  int repeats = 15;
  double budget = 0;  // seconds after which no further round is started; 0: none. The first round is always finished
  bool processor_time = false;
};

struct WorkOptions {
  std::string network = "resnet50";
  std::filesystem::path weights;  // a converted file; empty: formula weights for `network`
  Sides sides;
};

using Progress = std::function<void(const std::string&)>;

// Both measure the limits as well, in every round. Throw hp::Error if nothing has the filter in its name.
BenchReport run_kernels(CpuKernels&, const RunOptions&, const Progress&);
BenchReport run_works(CpuKernels&, const RunOptions&, const WorkOptions&, const Progress&);

Model model_of(const WorkOptions&);

// The tables that people read.
std::string kernels_table(const BenchReport&);
std::string works_table(const BenchReport&);

}  // namespace hp::bench
