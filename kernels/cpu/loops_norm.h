// NormLoops: the inner loops of group_norm.cpp over rows that have statistics of their own (isa.h says how they are
// chosen).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// Formulas: group_norm in runtime/kernels.h; a row is a token. Sums are in double precision; a null weight is 1, a null
// bias 0.
struct NormLoops {
  void (*layer_norm)(int64_t rows, int64_t columns, float epsilon, bool centred, const float* x, const float* weight,
                     const float* bias, float* mean, float* inverse, float* y);
  void (*layer_norm_vjp)(int64_t rows, int64_t columns, bool centred, bool detached, const float* x, const float* mean,
                         const float* inverse, const float* weight, const float* dy, float* dx);
  // sums [2, columns]: sums[0] += dy h, sums[1] += dy, where h is what the weight multiplies
  void (*add_layer_products)(int64_t rows, int64_t columns, bool centred, const float* x, const float* mean,
                             const float* inverse, const float* dy, double* sums);
};

template <>
const NormLoops& loops<NormLoops, Isa::baseline>();
template <>
const NormLoops& loops<NormLoops, Isa::avx2>();
template <>
const NormLoops& loops<NormLoops, Isa::avx512>();

}  // namespace hp
