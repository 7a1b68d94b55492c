// Kernels of the relevance rules: one pass over the data each.
#include "kernels/cuda/map.cuh"

namespace hp {

namespace {

// stab(d) = d + epsilon sgn(d) with sgn(0) = sgn(-0) = +1.
__device__ float stabilised(float d, float epsilon) { return d + (d < 0.0f ? -epsilon : epsilon); }

struct StabilisedRatio {
  float epsilon;
  __device__ void prepare(float* shared) const { shared[0] = stabilised(shared[0], epsilon); }
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    out[0] = shared[0] == 0.0f ? 0.0f : in[0] / shared[0];
  }
};

struct ScaleByRatio {
  float epsilon;
  __device__ void prepare(float* shared) const {
    const float d = stabilised(shared[1], epsilon);
    shared[0] = d == 0.0f ? 0.0f : shared[0] / d;
  }
  __device__ void operator()(const float* shared, const float* in, float* out) const { out[0] = in[0] * shared[0]; }
};

struct GammaRatio {
  float epsilon, gamma;
  __device__ void operator()(const float*, const float* in, float* out) const {
    const float z = in[1], p = in[2];
    const float d = fmaf(gamma, z > 0.0f ? p : z - p, z);
    out[0] = z == 0.0f ? 0.0f : in[0] / stabilised(d, epsilon);
  }
};

struct GammaMessages {
  float gamma;
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    const bool above = shared[0] > 0.0f;
    const float share = in[0] * shared[1];
    out[0] = share * (above ? 1.0f : 1.0f + gamma);
    out[1] = share * (above ? gamma : -gamma);
  }
};

struct GammaRatiosAny {
  float epsilon, gamma;
  __device__ void operator()(const float*, const float* in, float* out) const {
    const float z = in[1], a = in[2];
    const float signed_half = z > 0.0f ? 0.5f * gamma : -0.5f * gamma;
    const float d = fmaf(signed_half, fabsf(z) + a, z);
    const float r = z == 0.0f ? 0.0f : in[0] / stabilised(d, epsilon);
    out[0] = fmaf(0.5f, gamma, 1.0f) * r;
    out[1] = signed_half * r;
  }
};

// What a gate lets through of m; a closed gate hides a NaN of m.
template <Gate gate>
__device__ float gated(float x, float m) {
  if (gate == Gate::positive) return x > 0.0f ? m : 0.0f;
  if (gate == Gate::negative) return x < 0.0f ? m : 0.0f;
  if (gate == Gate::sign) return x > 0.0f ? m : x < 0.0f ? -m : 0.0f;
  return m;
}

template <Gate gate>
struct SetGated {
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    out[0] = gated<gate>(shared[0], in[0]);
  }
};

template <Gate gate>
struct AddGated {
  float beta;
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    out[0] = fmaf(beta, in[1], gated<gate>(shared[0], in[0]));
  }
};

struct GatedArguments {
  int64_t n;
  int targets;
  const float *x, *m;
  float beta;
  float* y;
};

template <Gate gate>
void add_gated_by(const CudaState& state, const GatedArguments& a) {
  const int64_t count = a.targets * a.n;
  if (a.beta == 0.0f) {
    return map(state, "add_gated",
               MapArrays<1, 1, 1>{.count = count, .period = a.n, .shared = {{a.x}}, .in = {{a.m}}, .out = {a.y}},
               SetGated<gate>());
  }
  map(state, "add_gated",
      MapArrays<1, 2, 1>{.count = count, .period = a.n, .shared = {{a.x}}, .in = {{a.m}, {a.y}}, .out = {a.y}},
      AddGated<gate>{a.beta});
}

struct BoxRelevance {
  int64_t n, channels;
  int targets;
  const float *low, *high, *x, *g, *g_positive;
  float* r;
};

// A position of x serves all targets.
__global__ void box_relevance_kernel(BoxRelevance a) {
  const int64_t n = a.n, step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) {
    const int64_t channel = i % a.channels;
    const float low = a.low[channel], high = a.high[channel], from_high = a.x[i] - high, width = high - low;
    for (int64_t message = i; message < a.targets * n; message += n) {
      a.r[message] = static_cast<float>(static_cast<double>(from_high) * a.g[message] +
                                        static_cast<double>(width) * a.g_positive[message]);
    }
  }
}

}  // namespace

void CudaKernels::stabilised_ratio(int64_t n, int64_t period, float epsilon, const float* numerator,
                                   const float* denominator, float* ratio) {
  map(*state_, "stabilised_ratio",
      MapArrays<1, 1, 1>{
          .count = n, .period = period, .shared = {{denominator}}, .in = {{numerator, 1}}, .out = {ratio}},
      StabilisedRatio{epsilon});
}

void CudaKernels::scale_by_ratio(int64_t n, int64_t period, float epsilon, const float* m, const float* numerator,
                                 const float* denominator, float* y) {
  map(*state_, "scale_by_ratio",
      MapArrays<2, 1, 1>{
          .count = n, .period = period, .shared = {{numerator, 1}, {denominator}}, .in = {{m}}, .out = {y}},
      ScaleByRatio{epsilon});
}

void CudaKernels::gamma_ratio(int64_t n, float epsilon, float gamma, const float* numerator, const float* z,
                              const float* p, float* ratio) {
  map(*state_, "gamma_ratio", MapArrays<0, 3, 1>{.count = n, .in = {{numerator, 1}, {z}, {p}}, .out = {ratio}},
      GammaRatio{epsilon, gamma});
}

void CudaKernels::gamma_messages(int64_t n, int64_t period, float gamma, const float* m, const float* z,
                                 const float* ratio, float* y, float* y_positive) {
  map(*state_, "gamma_messages",
      MapArrays<2, 1, 2>{.count = n, .period = period, .shared = {{z}, {ratio}}, .in = {{m}}, .out = {y, y_positive}},
      GammaMessages{gamma});
}

void CudaKernels::gamma_ratios_any(int64_t n, float epsilon, float gamma, const float* numerator, const float* z,
                                   const float* a, float* ratio, float* ratio_absolute) {
  map(*state_, "gamma_ratios_any",
      MapArrays<0, 3, 2>{.count = n, .in = {{numerator, 1}, {z}, {a}}, .out = {ratio, ratio_absolute}},
      GammaRatiosAny{epsilon, gamma});
}

void CudaKernels::add_gated(Gate gate, int64_t n, int targets, const float* x, const float* m, float beta, float* y) {
  const GatedArguments arguments{n, targets, x, m, beta, y};
  switch (gate) {
    case Gate::all:
      return add_gated_by<Gate::all>(*state_, arguments);
    case Gate::positive:
      return add_gated_by<Gate::positive>(*state_, arguments);
    case Gate::negative:
      return add_gated_by<Gate::negative>(*state_, arguments);
    case Gate::sign:
      return add_gated_by<Gate::sign>(*state_, arguments);
  }
}

void CudaKernels::box_relevance(Rows shape, int targets, const float* low, const float* high, const float* x,
                                const float* g, const float* g_positive, float* r) {
  if (shape.count() == 0) return;
  constexpr int threads = 256;
  launch(*state_, "box_relevance", {dim3(state_->blocks(divide_up(shape.count(), threads))), dim3(threads)},
         box_relevance_kernel, BoxRelevance{shape.count(), shape.columns, targets, low, high, x, g, g_positive, r});
}

}  // namespace hp
