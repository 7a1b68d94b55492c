// exp, log and their relatives as straight-line float code that the compiler turns into vectors.
//
// For loops_*.cpp alone: everything is static, so that each instruction set has its own copy (isa.h). Errors, measured
// over all floats of the stated range against double precision: see tests/kernels/vector_math_test.cpp. NaN gives NaN.
// Polynomials: S. Moshier, Cephes mathematical library (single precision), coefficients of expf, logf and tanhf.
//
// No formula here or in the loops adds two float products: the compiler may fuse either one with the addition, in the
// vectors another one than behind them, and then bits would depend on where a thread's range ends.
#pragma once

#include <cstdint>

namespace hp {

// max(x, 0) and min(x, 0) that keep a NaN.
static inline float positive_part_of(float x) { return 0.0f > x ? 0.0f : x; }
static inline float negative_part_of(float x) { return 0.0f < x ? 0.0f : x; }

static inline float power_of_two(int32_t exponent) { return __builtin_bit_cast(float, (exponent + 127) << 23); }

// The whole range: denormal results are rounded once, above 88.73 infinity, below -104 zero.
static inline float exp_of(float x) {
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  // Adding 1.5 * 2^23 rounds to the nearest integer, which then lies in the lowest bits.
  const float shifted = x * 1.44269504088896341f + 12582912.0f;
  const int32_t exponent = __builtin_bit_cast(int32_t, shifted) - 0x4B400000;
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // Two factors, because 2^exponent itself may be no normal number.
  const int32_t half = exponent >> 1;
  return p * power_of_two(half) * power_of_two(exponent - half);
}

// The whole range: log(0) = -infinity, NaN below 0.
static inline float log_of(float x) {
  const bool denormal = x < 1.17549435e-38f;
  const int32_t bits = __builtin_bit_cast(int32_t, denormal ? x * 8388608.0f : x);
  const float m = __builtin_bit_cast(float, (bits & 0x007FFFFF) | 0x3F000000);  // in [1/2, 1)
  const bool low = m < 0.707106781186547524f;
  const float e = static_cast<float>((bits >> 23) - 126 - (denormal ? 23 : 0) - (low ? 1 : 0));
  const float r = low ? m + m - 1.0f : m - 1.0f;
  float p = 7.0376836292e-2f;
  p = p * r - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  float result = (p * r - 0.5f) * (r * r) + (r - e * 2.12194440e-4f);
  result = e * 0.693359375f + result;
  result = x > 3.40282346e38f ? x : result;
  result = x == 0.0f ? -__builtin_inff() : result;
  return x >= 0.0f ? result : __builtin_nanf("");
}

// log(1 + x) for x in [0, 1]; the last term puts back what the sum 1 + x has rounded away.
static inline float log1p_of(float x) {
  const float sum = 1.0f + x;
  return log_of(sum) + (x - (sum - 1.0f)) / sum;
}

static inline float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

// exp(-x^2 / 2) and the normal distribution Phi(-|x|) = exp(-x^2 / 2) * tail. The polynomial in 1 / (1 + 0.3 |x|) is a
// minimax fit of the relative error on |x| <= 14.2, below which Phi(-|x|) is no float.
struct NormalTail {
  float bell, tail;
};
static inline NormalTail normal_tail_of(float x) {
  const float t = 1.0f / (1.0f + 0.3f * __builtin_fabsf(x));
  float p = 3.8391590118e-2f;
  p = p * t - 1.6923069954e-1f;
  p = p * t + 2.2879335284e-1f;
  p = p * t - 7.6658688486e-2f;
  p = p * t + 1.4264048636e-1f;
  p = p * t + 9.4638906419e-2f;
  p = p * t + 1.2193173170e-1f;
  p = p * t + 1.1948609352e-1f;
  p = p * t + 7.2619768616e-6f;
  return {exp_of(-0.5f * (x * x)), p};
}

// What GELU and its relatives multiply x by, and their derivatives: gate + x gate'.
static inline float gelu_gate_of(float x) {
  const NormalTail normal = normal_tail_of(x);
  const float below = normal.bell * normal.tail;
  return x > 0.0f ? 1.0f - below : below;
}
static inline float gelu_slope_of(float x) {
  const NormalTail normal = normal_tail_of(x);
  const float factor = 3.9894228040e-1f * x + (x > 0.0f ? -normal.tail : normal.tail);
  return normal.bell * factor + (x > 0.0f ? 1.0f : 0.0f);
}
static inline float gelu_tanh_gate_of(float x) { return sigmoid_of(x * (7.1354816272e-2f * (x * x) + 1.5957691216f)); }
// sigmoid(u) + slope sigmoid'(u), with the digits that 1 - sigmoid(u) would lose.
static inline float sigmoid_and_slope_of(float u, float slope) {
  const float e = exp_of(-__builtin_fabsf(u));
  const float above = 1.0f / (1.0f + e);
  const float below = e * above;
  return slope * (above * below) + (u > 0.0f ? above : below);
}
static inline float gelu_tanh_slope_of(float x) {
  return sigmoid_and_slope_of(x * (7.1354816272e-2f * (x * x) + 1.5957691216f),
                              x * (2.1406444882e-1f * (x * x) + 1.5957691216f));
}
static inline float swish_slope_of(float x, float factor) { return sigmoid_and_slope_of(factor * x, factor * x); }

static inline float softplus_of(float x) { return positive_part_of(x) + log1p_of(exp_of(-__builtin_fabsf(x))); }

static inline float tanh_of(float x) {
  const float magnitude = __builtin_fabsf(x);
  const float square = x * x;
  float p = -5.70498872745e-3f;
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const float near = p * square * x + x;
  const float far = 1.0f - 2.0f / (exp_of(2.0f * magnitude) + 1.0f);
  return magnitude < 0.625f ? near : __builtin_copysignf(far, x);
}

}  // namespace hp
