#include "kernels/cpu/loops_relevance.h"

namespace hp {

namespace {

// stab(d) = d + epsilon sgn(d) with sgn(0) = sgn(-0) = +1.
inline float stabilised(float d, float epsilon) { return d + (d < 0.0f ? -epsilon : epsilon); }

// f(i, numerator of element i) for all i, in vectors.
template <class F>
void for_numerators(int64_t n, const float* numerator, F f) {
  if (numerator) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) f(i, numerator[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) f(i, 1.0f);
  }
}

// numerator / stab(denominator), 0 where that stab is 0.
inline float share_of(float numerator, float denominator, float epsilon) {
  const float d = stabilised(denominator, epsilon);
  const float share = numerator / d;
  return d == 0.0f ? 0.0f : share;
}

void stabilised_ratio(int64_t n, float epsilon, const float* numerator, const float* denominator, float* ratio) {
  for_numerators(n, numerator, [=](int64_t i, float over) { ratio[i] = share_of(over, denominator[i], epsilon); });
}

void scale_by_ratio(int64_t n, float epsilon, const float* m, const float* numerator, const float* denominator,
                    float* y) {
  for_numerators(n, numerator, [=](int64_t i, float over) { y[i] = m[i] * share_of(over, denominator[i], epsilon); });
}

void gamma_ratio(int64_t n, float epsilon, float gamma, const float* numerator, const float* z, const float* p,
                 float* ratio) {
  for_numerators(n, numerator, [=](int64_t i, float over) {
    const float output = z[i];
    const float d = output + gamma * (output > 0.0f ? p[i] : output - p[i]);
    const float share = over / stabilised(d, epsilon);
    ratio[i] = output == 0.0f ? 0.0f : share;
  });
}

void gamma_messages(int64_t n, float gamma, const float* m, const float* z, const float* ratio, float* y,
                    float* y_positive) {
  const float enlarged = 1.0f + gamma;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const bool above = z[i] > 0.0f;
    const float share = m[i] * ratio[i];
    y[i] = share * (above ? 1.0f : enlarged);
    y_positive[i] = share * (above ? gamma : -gamma);
  }
}

void gamma_ratios_any(int64_t n, float epsilon, float gamma, const float* numerator, const float* z, const float* a,
                      float* ratio, float* ratio_absolute) {
  const float half = 0.5f * gamma, enlarged = 1.0f + half;
  for_numerators(n, numerator, [=](int64_t i, float over) {
    const float output = z[i];
    const float signed_half = output > 0.0f ? half : -half;
    const float d = output + signed_half * (__builtin_fabsf(output) + a[i]);
    const float share = over / stabilised(d, epsilon);
    const float r = output == 0.0f ? 0.0f : share;
    ratio[i] = enlarged * r;
    ratio_absolute[i] = signed_half * r;
  });
}

// What a gate lets through of m; a closed gate hides a NaN of m.
inline float gated(Gate gate, float x, float m) {
  if (gate == Gate::positive) return x > 0.0f ? m : 0.0f;
  if (gate == Gate::negative) return x < 0.0f ? m : 0.0f;
  if (gate == Gate::sign) return x > 0.0f ? m : x < 0.0f ? -m : 0.0f;
  return m;
}

template <Gate gate>
void add_gated_by(int64_t n, const float* x, const float* m, float beta, float* y) {
  if (beta == 0.0f) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = gated(gate, x[i], m[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = beta * y[i] + gated(gate, x[i], m[i]);
  }
}

void add_gated(Gate gate, int64_t n, const float* x, const float* m, float beta, float* y) {
  switch (gate) {
    case Gate::all:
      return add_gated_by<Gate::all>(n, x, m, beta, y);
    case Gate::positive:
      return add_gated_by<Gate::positive>(n, x, m, beta, y);
    case Gate::negative:
      return add_gated_by<Gate::negative>(n, x, m, beta, y);
    case Gate::sign:
      return add_gated_by<Gate::sign>(n, x, m, beta, y);
  }
}

void box_relevance(int64_t n, const float* low, const float* high, const float* x, const float* g,
                   const float* g_positive, float* r) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    // In double both products are exact (vector_math.h says why that matters).
    const double from_high = x[i] - high[i], width = high[i] - low[i];
    r[i] = static_cast<float>(from_high * g[i] + width * g_positive[i]);
  }
}

constexpr RelevanceLoops table{.stabilised_ratio = stabilised_ratio,
                               .scale_by_ratio = scale_by_ratio,
                               .gamma_ratio = gamma_ratio,
                               .gamma_messages = gamma_messages,
                               .gamma_ratios_any = gamma_ratios_any,
                               .add_gated = add_gated,
                               .box_relevance = box_relevance};

}  // namespace

template <>
const RelevanceLoops& loops<RelevanceLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
