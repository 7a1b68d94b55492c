// RelevanceLoops: the inner loops of relevance.cpp (isa.h says how they are chosen).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "runtime/kernels.h"

namespace hp {

// Formulas: runtime/kernels.h. A null numerator means 1.
struct RelevanceLoops {
  void (*stabilised_ratio)(int64_t n, float epsilon, const float* numerator, const float* denominator, float* ratio);
  void (*scale_by_ratio)(int64_t n, float epsilon, const float* m, const float* numerator, const float* denominator,
                         float* y);
  void (*gamma_ratio)(int64_t n, float epsilon, float gamma, const float* numerator, const float* z, const float* p,
                      float* ratio);
  void (*gamma_messages)(int64_t n, float gamma, const float* m, const float* z, const float* ratio, float* y,
                         float* y_positive);
  void (*gamma_ratios_any)(int64_t n, float epsilon, float gamma, const float* numerator, const float* z,
                           const float* a, float* ratio, float* ratio_absolute);
  void (*add_gated)(Gate, int64_t n, const float* x, const float* m, float beta, float* y);
  void (*box_relevance)(int64_t n, const float* low, const float* high, const float* x, const float* g,
                        const float* g_positive, float* r);
};

template <>
const RelevanceLoops& loops<RelevanceLoops, Isa::baseline>();
template <>
const RelevanceLoops& loops<RelevanceLoops, Isa::avx2>();
template <>
const RelevanceLoops& loops<RelevanceLoops, Isa::avx512>();

}  // namespace hp
