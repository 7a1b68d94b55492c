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

}  // namespace

void CudaKernels::sgd_step(int64_t n, const SgdStep& step, const float* gradient, float* velocity, float* w) {
  map(*state_, "sgd_step", MapArrays<0, 3, 2>{.count = n, .in = {{gradient}, {velocity}, {w}}, .out = {velocity, w}},
      Sgd{step});
}

}  // namespace hp
