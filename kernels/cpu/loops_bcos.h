// BcosLoops: the inner loops of bcos.cpp (isa.h says how they are chosen).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// Formulas: runtime/kernels.h. Sums are in double precision.
struct BcosLoops {
  void (*square_sums)(int64_t rows, int64_t columns, const float* x, double* sums);
  // sums[row, i] += x[row * step + i]
  void (*add)(int64_t rows, int64_t columns, int64_t step, const double* x, double* sums);
  // y = sqrt(squares + inside) + outside
  void (*norms)(int64_t n, double inside, double outside, const double* squares, float* y);
  // y = factor[row] x
  void (*scale_rows)(int64_t rows, int64_t columns, const float* factor, const float* x, float* y);
  void (*unit_rows)(int64_t rows, int64_t columns, const float* x, float* y);
  void (*unit_rows_vjp)(int64_t rows, int64_t columns, const float* x, const float* dy, float* dx);
  void (*bcos_scale)(int64_t rows, int64_t columns, float exponent, const float* u, const float* n, const float* v,
                     const float* addend, float* y);
  void (*bcos_scale_vjp)(int64_t rows, int64_t columns, float exponent, const float* u, const float* n, const float* dy,
                         float* du);
  void (*bcos_norm_vjp)(int64_t rows, int64_t columns, float exponent, const float* u, const float* n, const float* dy,
                        float* dn);
};

template <>
const BcosLoops& loops<BcosLoops, Isa::baseline>();
template <>
const BcosLoops& loops<BcosLoops, Isa::avx2>();
template <>
const BcosLoops& loops<BcosLoops, Isa::avx512>();

}  // namespace hp
