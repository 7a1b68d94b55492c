#include "kernels/cpu/loops_elementwise.h"

#include "kernels/cpu/vector_math.h"

namespace hp {

namespace {

// `omp simd` tells the compiler that elements are independent, also where y is x: no overlap check, always vectors.
template <class F>
void transform(int64_t n, const float* x, float* y, F f) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

template <class F>
void transform(int64_t n, const float* a, const float* b, float* y, F f) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
}

void apply(Function function, int64_t n, const float* x, float* y) {
  switch (function) {
    case Function::relu:
    case Function::positive_part:
      return transform(n, x, y, [](float v) { return positive_part_of(v); });
    case Function::negative_part:
      return transform(n, x, y, [](float v) { return negative_part_of(v); });
    case Function::sigmoid:
      return transform(n, x, y, [](float v) { return sigmoid_of(v); });
    case Function::tanh:
      return transform(n, x, y, [](float v) { return tanh_of(v); });
    case Function::exponential:
      return transform(n, x, y, [](float v) { return exp_of(v); });
    case Function::logarithm:
      return transform(n, x, y, [](float v) { return log_of(v); });
    case Function::square:
      return transform(n, x, y, [](float v) { return v * v; });
    case Function::absolute:
      return transform(n, x, y, [](float v) { return __builtin_fabsf(v); });
    case Function::sign:
      return transform(n, x, y, [](float v) { return v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : v; });
    case Function::gelu:
      return transform(n, x, y, [](float v) { return v * gelu_gate_of(v); });
    case Function::gelu_tanh:
      return transform(n, x, y, [](float v) { return v * gelu_tanh_gate_of(v); });
    case Function::quick_gelu:
      return transform(n, x, y, [](float v) { return v * sigmoid_of(1.702f * v); });
    case Function::silu:
      return transform(n, x, y, [](float v) { return v * sigmoid_of(v); });
  }
}

void apply_vjp(Function function, int64_t n, const float* x, const float* y, const float* dy, float* dx) {
  switch (function) {
    case Function::relu:
    case Function::positive_part:
      return transform(n, x, dy, dx, [](float v, float d) { return v > 0.0f ? d : 0.0f; });
    case Function::negative_part:
      return transform(n, x, dy, dx, [](float v, float d) { return v < 0.0f ? d : 0.0f; });
    case Function::sigmoid:
      return transform(n, y, dy, dx, [](float v, float d) { return d * v * (1.0f - v); });
    case Function::tanh:
      return transform(n, y, dy, dx, [](float v, float d) { return d * ((1.0f - v) * (1.0f + v)); });
    case Function::exponential:
      return transform(n, y, dy, dx, [](float v, float d) { return d * v; });
    case Function::logarithm:
      return transform(n, x, dy, dx, [](float v, float d) { return d / v; });
    case Function::square:
      return transform(n, x, dy, dx, [](float v, float d) { return 2.0f * v * d; });
    case Function::absolute:
      return transform(n, x, dy, dx, [](float v, float d) { return v > 0.0f ? d : v < 0.0f ? -d : 0.0f; });
    case Function::sign:
      return transform(n, x, dy, dx, [](float, float) { return 0.0f; });
    case Function::gelu:
      return transform(n, x, dy, dx, [](float v, float d) { return d * gelu_slope_of(v); });
    case Function::gelu_tanh:
      return transform(n, x, dy, dx, [](float v, float d) { return d * gelu_tanh_slope_of(v); });
    case Function::quick_gelu:
      return transform(n, x, dy, dx, [](float v, float d) { return d * swish_slope_of(v, 1.702f); });
    case Function::silu:
      return transform(n, x, dy, dx, [](float v, float d) { return d * swish_slope_of(v, 1.0f); });
  }
}

void apply_ratio(Function function, int64_t n, const float* x, const float* dy, float* dx) {
  switch (function) {
    case Function::relu:
    case Function::positive_part:
    case Function::negative_part:
    case Function::absolute:
      return apply_vjp(function, n, x, x, dy, dx);  // straight lines on either side of 0
    case Function::tanh:
      return transform(n, x, dy, dx, [](float v, float d) { return v == 0.0f ? d : d * (tanh_of(v) / v); });
    case Function::square:
      return transform(n, x, dy, dx, [](float v, float d) { return d * v; });
    case Function::gelu:
      return transform(n, x, dy, dx, [](float v, float d) { return d * gelu_gate_of(v); });
    case Function::gelu_tanh:
      return transform(n, x, dy, dx, [](float v, float d) { return d * gelu_tanh_gate_of(v); });
    case Function::quick_gelu:
      return transform(n, x, dy, dx, [](float v, float d) { return d * sigmoid_of(1.702f * v); });
    case Function::silu:
      return transform(n, x, dy, dx, [](float v, float d) { return d * sigmoid_of(v); });
    case Function::sigmoid:
    case Function::exponential:
    case Function::logarithm:
    case Function::sign:  // not 0 at 0, or steep there
      return transform(n, x, dy, dx, [](float, float) { return __builtin_nanf(""); });
  }
}

void guided_relu_vjp(int64_t n, const float* x, const float* dy, float* dx) {
  transform(n, x, dy, dx, [](float v, float d) { return v > 0.0f ? positive_part_of(d) : 0.0f; });
}

void combine(Binary binary, int64_t n, const float* a, const float* b, float* y) {
  switch (binary) {
    case Binary::add:
      return transform(n, a, b, y, [](float u, float v) { return u + v; });
    case Binary::subtract:
      return transform(n, a, b, y, [](float u, float v) { return u - v; });
    case Binary::multiply:
      return transform(n, a, b, y, [](float u, float v) { return u * v; });
    case Binary::divide:
      return transform(n, a, b, y, [](float u, float v) { return u / v; });
  }
}

void scale_add(int64_t n, float alpha, const float* x, float beta, float* y) {
  if (beta == 0.0f) return transform(n, x, y, [=](float v) { return alpha * v; });
  if (beta == 1.0f) return transform(n, x, y, y, [=](float v, float old) { return alpha * v + old; });
  // In double both products are exact (vector_math.h says why that matters).
  transform(n, x, y, y, [=](float v, float old) {
    return static_cast<float>(static_cast<double>(alpha) * v + static_cast<double>(beta) * old);
  });
}

void add_relu(int64_t n, const float* a, const float* b, float* y) {
  transform(n, a, b, y, [](float u, float v) { return positive_part_of(u + v); });
}

void blend_signs(int64_t n, float positive, float negative, const float* x, float* y) {
  transform(n, x, y, [=](float v) { return (v > 0.0f ? positive : negative) * v; });
}

constexpr ElementwiseLoops table{.apply = apply,
                                 .apply_vjp = apply_vjp,
                                 .apply_ratio = apply_ratio,
                                 .guided_relu_vjp = guided_relu_vjp,
                                 .combine = combine,
                                 .scale_add = scale_add,
                                 .add_relu = add_relu,
                                 .blend_signs = blend_signs};

}  // namespace

template <>
const ElementwiseLoops& loops<ElementwiseLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
