#include "kernels/cpu/loops_optimisers.h"

namespace hp {

namespace {

void sgd_step(int64_t n, const SgdStep& step, const float* gradient, float* velocity, float* w) {
  const float rate = step.learning_rate, momentum = step.momentum, decay = step.weight_decay;
  const bool nesterov = step.nesterov;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] + decay * w[i];
    const float v = momentum * velocity[i] + g;
    velocity[i] = v;
    w[i] -= rate * (nesterov ? momentum * v + g : v);
  }
}

constexpr OptimiserLoops table{.sgd_step = sgd_step};

}  // namespace

template <>
const OptimiserLoops& loops<OptimiserLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
