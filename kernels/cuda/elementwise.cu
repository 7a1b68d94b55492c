// Elementwise kernels: functions of single elements for map().
#include "kernels/cuda/map.cuh"

namespace hp {

namespace {

struct Fill {
  float value;
  __device__ void operator()(const float*, const float*, float* out) const { out[0] = value; }
};

// What GELU and its relatives multiply x by; their derivative is gate + x gate'.
template <Function function>
struct GeluGate {
  __device__ static float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
  __device__ static float of(float x) {
    if (function == Function::gelu) return 0.5f * erfcf(-0.70710678f * x);
    if (function == Function::gelu_tanh) return sigmoid(x * fmaf(7.1354816272e-2f, x * x, 1.5957691216f));
    return sigmoid(function == Function::quick_gelu ? 1.702f * x : x);
  }
  __device__ static float slope(float x) {
    if (function == Function::gelu) return fmaf(3.9894228040e-1f * x, expf(-0.5f * (x * x)), of(x));
    float argument = function == Function::quick_gelu ? 1.702f * x : x, slope = argument;
    if (function == Function::gelu_tanh) {
      argument = x * fmaf(7.1354816272e-2f, x * x, 1.5957691216f);
      slope = x * fmaf(2.1406444882e-1f, x * x, 1.5957691216f);
    }
    const float e = expf(-fabsf(argument)), above = 1.0f / (1.0f + e), below = e * above;
    return fmaf(slope, above * below, argument > 0.0f ? above : below);
  }
};

// y = f(x)
template <Function function>
struct Apply {
  __device__ static float of(float x) {
    switch (function) {
      case Function::relu:
      case Function::positive_part:
        return positive_part_of(x);
      case Function::negative_part:
        return negative_part_of(x);
      case Function::sigmoid:
        return 1.0f / (1.0f + expf(-x));
      case Function::tanh:
        return tanhf(x);
      case Function::exponential:
        return expf(x);
      case Function::logarithm:
        return logf(x);
      case Function::square:
        return x * x;
      case Function::absolute:
        return fabsf(x);
      case Function::sign:
        return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;
      case Function::gelu:
      case Function::gelu_tanh:
      case Function::quick_gelu:
      case Function::silu:
        return x * GeluGate<function>::of(x);
    }
    return x;
  }
  __device__ void operator()(const float*, const float* in, float* out) const { out[0] = of(in[0]); }
};

// dx = dy f'(x), from the input or the output, whichever is cheaper: `v` is that value.
template <Function function>
struct ApplyVjp {
  static constexpr bool reads_output =
      function == Function::sigmoid || function == Function::tanh || function == Function::exponential;
  __device__ static float of(float v, float dy) {
    switch (function) {
      case Function::relu:
      case Function::positive_part:
        return v > 0.0f ? dy : 0.0f;
      case Function::negative_part:
        return v < 0.0f ? dy : 0.0f;
      case Function::sigmoid:
        return dy * v * (1.0f - v);
      case Function::tanh:
        return dy * ((1.0f - v) * (1.0f + v));
      case Function::exponential:
        return dy * v;
      case Function::logarithm:
        return dy / v;
      case Function::square:
        return 2.0f * v * dy;
      case Function::absolute:
        return v > 0.0f ? dy : v < 0.0f ? -dy : 0.0f;
      case Function::sign:
        return 0.0f;
      case Function::gelu:
      case Function::gelu_tanh:
      case Function::quick_gelu:
      case Function::silu:
        return dy * GeluGate<function>::slope(v);
    }
    return dy;
  }
  __device__ void operator()(const float* shared, const float* in, float* out) const { out[0] = of(shared[0], in[0]); }
};

// dx = dy f(x) / x
template <Function function>
struct ApplyRatio {
  __device__ static float of(float v, float dy) {
    switch (function) {
      case Function::relu:
      case Function::positive_part:
      case Function::negative_part:
      case Function::absolute:
        return ApplyVjp<function>::of(v, dy);
      case Function::tanh:
        return v == 0.0f ? dy : dy * (tanhf(v) / v);
      case Function::square:
        return dy * v;
      case Function::gelu:
      case Function::gelu_tanh:
      case Function::quick_gelu:
      case Function::silu:
        return dy * GeluGate<function>::of(v);
      case Function::sigmoid:
      case Function::exponential:
      case Function::logarithm:
      case Function::sign:
        return NAN;
    }
    return dy;
  }
  __device__ void operator()(const float* shared, const float* in, float* out) const { out[0] = of(shared[0], in[0]); }
};

struct GuidedReluVjp {
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    out[0] = shared[0] > 0.0f ? positive_part_of(in[0]) : 0.0f;
  }
};

template <Binary binary>
struct Combine {
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    const float a = in[0], b = shared[0];
    if (binary == Binary::add) out[0] = a + b;
    if (binary == Binary::subtract) out[0] = a - b;
    if (binary == Binary::multiply) out[0] = a * b;
    if (binary == Binary::divide) out[0] = a / b;
  }
};

struct Scale {
  float alpha;
  __device__ void operator()(const float*, const float* in, float* out) const { out[0] = alpha * in[0]; }
};

struct ScaleAdd {
  float alpha, beta;
  __device__ void operator()(const float*, const float* in, float* out) const {
    out[0] = fmaf(alpha, in[0], beta * in[1]);
  }
};

struct AddRelu {
  __device__ void operator()(const float*, const float* in, float* out) const {
    out[0] = positive_part_of(in[0] + in[1]);
  }
};

struct BlendSigns {
  float positive, negative;
  __device__ void operator()(const float*, const float* in, float* out) const {
    out[0] = (in[0] > 0.0f ? positive : negative) * in[0];
  }
};

// visit(a value whose type is Constant<f>) for the f that equals `function`.
template <Function function>
struct Constant {
  static constexpr Function value = function;
};

template <class Visit>
void with_function(Function function, Visit visit) {
  switch (function) {
    case Function::relu:
      return visit(Constant<Function::relu>());
    case Function::sigmoid:
      return visit(Constant<Function::sigmoid>());
    case Function::tanh:
      return visit(Constant<Function::tanh>());
    case Function::exponential:
      return visit(Constant<Function::exponential>());
    case Function::logarithm:
      return visit(Constant<Function::logarithm>());
    case Function::square:
      return visit(Constant<Function::square>());
    case Function::absolute:
      return visit(Constant<Function::absolute>());
    case Function::positive_part:
      return visit(Constant<Function::positive_part>());
    case Function::negative_part:
      return visit(Constant<Function::negative_part>());
    case Function::sign:
      return visit(Constant<Function::sign>());
    case Function::gelu:
      return visit(Constant<Function::gelu>());
    case Function::gelu_tanh:
      return visit(Constant<Function::gelu_tanh>());
    case Function::quick_gelu:
      return visit(Constant<Function::quick_gelu>());
    case Function::silu:
      return visit(Constant<Function::silu>());
  }
}

}  // namespace

void CudaKernels::fill(int64_t n, float value, float* y) {
  map(*state_, "fill", MapArrays<0, 0, 1>{.count = n, .out = {y}}, Fill{value});
}

void CudaKernels::apply(Function function, int64_t n, const float* x, float* y) {
  with_function(function, [&](auto constant) {
    map(*state_, "apply", MapArrays<0, 1, 1>{.count = n, .in = {{x}}, .out = {y}}, Apply<decltype(constant)::value>());
  });
}

void CudaKernels::apply_vjp(Function function, int64_t n, int targets, const float* x, const float* y, const float* dy,
                            float* dx) {
  with_function(function, [&](auto constant) {
    using Vjp = ApplyVjp<decltype(constant)::value>;
    const float* value = Vjp::reads_output ? y : x;
    map(*state_, "apply_vjp",
        MapArrays<1, 1, 1>{.count = targets * n, .period = n, .shared = {{value}}, .in = {{dy}}, .out = {dx}}, Vjp());
  });
}

void CudaKernels::apply_ratio(Function function, int64_t n, int targets, const float* x, const float* dy, float* dx) {
  with_function(function, [&](auto constant) {
    map(*state_, "apply_ratio",
        MapArrays<1, 1, 1>{.count = targets * n, .period = n, .shared = {{x}}, .in = {{dy}}, .out = {dx}},
        ApplyRatio<decltype(constant)::value>());
  });
}

void CudaKernels::guided_relu_vjp(int64_t n, int targets, const float* x, const float* dy, float* dx) {
  map(*state_, "guided_relu_vjp",
      MapArrays<1, 1, 1>{.count = targets * n, .period = n, .shared = {{x}}, .in = {{dy}}, .out = {dx}},
      GuidedReluVjp());
}

void CudaKernels::combine(Binary binary, int64_t n, int64_t period, const float* a, const float* b, float* y) {
  const MapArrays<1, 1, 1> arrays{.count = n, .period = period, .shared = {{b}}, .in = {{a}}, .out = {y}};
  switch (binary) {
    case Binary::add:
      return map(*state_, "combine add", arrays, Combine<Binary::add>());
    case Binary::subtract:
      return map(*state_, "combine subtract", arrays, Combine<Binary::subtract>());
    case Binary::multiply:
      return map(*state_, "combine multiply", arrays, Combine<Binary::multiply>());
    case Binary::divide:
      return map(*state_, "combine divide", arrays, Combine<Binary::divide>());
  }
}

void CudaKernels::scale_add(int64_t n, float alpha, const float* x, float beta, float* y) {
  if (beta == 0.0f) {
    return map(*state_, "scale_add", MapArrays<0, 1, 1>{.count = n, .in = {{x}}, .out = {y}}, Scale{alpha});
  }
  map(*state_, "scale_add", MapArrays<0, 2, 1>{.count = n, .in = {{x}, {y}}, .out = {y}}, ScaleAdd{alpha, beta});
}

void CudaKernels::add_relu(int64_t n, const float* a, const float* b, float* y) {
  map(*state_, "add_relu", MapArrays<0, 2, 1>{.count = n, .in = {{a}, {b}}, .out = {y}}, AddRelu());
}

void CudaKernels::blend_signs(int64_t n, float positive, float negative, const float* x, float* y) {
  map(*state_, "blend_signs", MapArrays<0, 1, 1>{.count = n, .in = {{x}}, .out = {y}}, BlendSigns{positive, negative});
}

}  // namespace hp
