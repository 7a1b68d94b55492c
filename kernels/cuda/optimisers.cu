// Optimiser steps.
#include "kernels/cuda/map.cuh"

namespace hp {

namespace {

struct Sgd {
  SgdStep step;
  __device__ void operator()(const float*, const float* in, float* out) const {
    const float gradient = in[0], velocity = in[1], w = in[2];
    const float g = fmaf(step.weight_decay, w, gradient);
    const float v = fmaf(step.momentum, velocity, g);
    out[0] = v;
    out[1] = fmaf(-step.learning_rate, step.nesterov ? fmaf(step.momentum, v, g) : v, w);
  }
};

struct Adam {
  AdamStep step;
  float rate, root, kept;
  explicit Adam(const AdamStep& step)
      : step(step),
        rate(step.learning_rate / step.correction1),
        root(1.0f / std::sqrt(step.correction2)),
        kept(step.decoupled ? 1.0f - step.learning_rate * step.weight_decay : 1.0f) {}
  __device__ void operator()(const float*, const float* in, float* out) const {
    const float gradient = in[0], w = in[3];
    const float g = step.decoupled ? gradient : fmaf(step.weight_decay, w, gradient);
    const float first = fmaf(step.beta1, in[1], (1.0f - step.beta1) * g);
    const float second = fmaf(step.beta2, in[2], (1.0f - step.beta2) * g * g);
    out[0] = first;
    out[1] = second;
    out[2] = fmaf(kept, w, -rate * first / fmaf(sqrtf(second), root, step.epsilon));
  }
};

}  // namespace

void CudaKernels::sgd_step(int64_t n, const SgdStep& step, const float* gradient, float* velocity, float* w) {
  map(*state_, "sgd_step", MapArrays<0, 3, 2>{.count = n, .in = {{gradient}, {velocity}, {w}}, .out = {velocity, w}},
      Sgd{step});
}

void CudaKernels::adam_step(int64_t n, const AdamStep& step, const float* gradient, float* m, float* v, float* w) {
  map(*state_, "adam_step", MapArrays<0, 4, 3>{.count = n, .in = {{gradient}, {m}, {v}, {w}}, .out = {m, v, w}},
      Adam(step));
}

}  // namespace hp
