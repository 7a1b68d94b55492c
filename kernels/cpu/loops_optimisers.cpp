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

void adam_step(int64_t n, const AdamStep& step, const float* gradient, float* m, float* v, float* w) {
  const float beta1 = step.beta1, beta2 = step.beta2, epsilon = step.epsilon;
  const float rate = step.learning_rate / step.correction1, root = 1 / __builtin_sqrtf(step.correction2);
  const float in_gradient = step.decoupled ? 0.0f : step.weight_decay;
  const float shrink = step.decoupled ? step.learning_rate * step.weight_decay : 0.0f;  // 1 - shrink would lose digits
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] + in_gradient * w[i];
    const float first = beta1 * m[i] + (1 - beta1) * g, second = beta2 * v[i] + (1 - beta2) * g * g;
    m[i] = first;
    v[i] = second;
    w[i] -= shrink * w[i] + rate * first / (__builtin_sqrtf(second) * root + epsilon);
  }
}

constexpr OptimiserLoops table{.sgd_step = sgd_step, .adam_step = adam_step};

}  // namespace

template <>
const OptimiserLoops& loops<OptimiserLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
