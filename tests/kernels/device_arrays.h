// Calls a kernel on host vectors, for tests of single numbers.
#pragma once

#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "tests/cases/kernel_case.h"

namespace hp {

// The only output, of `count` floats, of one call with these inputs.
inline std::vector<float> run_kernel(const std::vector<std::vector<float>>& inputs, int64_t count,
                                     const cases::Call& call) {
  CpuKernels kernels;
  cases::KernelCase kernel_case{.outputs = {cases::output(count)}, .call = call};
  for (const std::vector<float>& input : inputs) kernel_case.inputs.push_back(cases::values(input));
  cases::PreparedCase prepared(kernels, kernel_case);
  prepared.run();
  return prepared.download()[0].floats;
}

}  // namespace hp
