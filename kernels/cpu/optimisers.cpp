// Optimiser steps: ranges among threads.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_optimisers.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/periods.h"

namespace hp {

void CpuKernels::sgd_step(int64_t n, const SgdStep& step, const float* gradient, float* velocity, float* w) {
  const OptimiserLoops& inner = loops_for<OptimiserLoops>(isa_);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    inner.sgd_step(end - begin, step, gradient + begin, velocity + begin, w + begin);
  });
}

void CpuKernels::adam_step(int64_t n, const AdamStep& step, const float* gradient, float* m, float* v, float* w) {
  const OptimiserLoops& inner = loops_for<OptimiserLoops>(isa_);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    inner.adam_step(end - begin, step, gradient + begin, m + begin, v + begin, w + begin);
  });
}

}  // namespace hp
