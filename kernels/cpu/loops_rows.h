// RowsLoops: the inner loops of rows.cpp and losses.cpp over consecutive rows (isa.h says how they are chosen).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// Formulas: runtime/kernels.h. Sums are in double precision, those of columns in single for eight rows at a time.
struct RowsLoops {
  void (*softmax)(int64_t rows, int64_t columns, const float* x, float* y);
  void (*softmax_vjp)(int64_t rows, int64_t columns, const float* y, const float* dy, float* dx);
  void (*log_softmax)(int64_t rows, int64_t columns, const float* x, float* y);
  void (*log_softmax_vjp)(int64_t rows, int64_t columns, const float* y, const float* dy, float* dx);
  void (*row_dots)(int64_t rows, int64_t columns, const float* a, const float* m, float* y);
  // y[t * y_step + row] = sum over columns of w[t * w_step + c] * (a[row, c] - shift[c])
  void (*pixel_dots)(int64_t rows, int64_t columns, int targets, int64_t w_step, int64_t y_step, const float* a,
                     const float* shift, const float* w, float* y);
  void (*label_ranks)(int64_t rows, int64_t columns, const float* x, const int32_t* label, int32_t* rank);
  void (*cross_entropy)(int64_t rows, int64_t columns, const float* z, const float* t, float scale, float* loss,
                        float* dz);
  void (*binary_cross_entropy)(int64_t rows, int64_t columns, const float* z, const float* t, float scale, float* loss,
                               float* dz);

  // Column sums add to `sums` [columns] or [2, columns].
  void (*add_values)(int64_t rows, int64_t columns, const float* x, double* sums);
  // sums[0] += x - shift, sums[1] += (x - shift)^2
  void (*add_moments)(int64_t rows, int64_t columns, const float* x, const float* shift, double* sums);
  // sums[0] += dy, sums[1] += dy (x - mean)
  void (*add_products)(int64_t rows, int64_t columns, const float* x, const float* mean, const float* dy, double* sums);
  // The same where normalise(x) is positive
  void (*add_products_relu)(int64_t rows, int64_t columns, const float* x, const float* mean, const float* scale,
                            const float* bias, const float* dy, double* sums);

  // Elementwise over n with one parameter of each kind per element.
  void (*normalise)(int64_t n, const float* x, const float* mean, const float* scale, const float* bias, float* y);
  void (*normalise_relu)(int64_t n, const float* x, const float* mean, const float* scale, const float* bias, float* y);
  // dx = scale dy - offset - slope (x - mean)
  void (*train_vjp)(int64_t n, const float* x, const float* mean, const float* scale, const float* offset,
                    const float* slope, const float* dy, float* dx);
  // The same with 0 for dy where normalise(x) is not positive
  void (*train_vjp_relu)(int64_t n, const float* x, const float* mean, const float* scale, const float* bias,
                         const float* offset, const float* slope, const float* dy, float* dx);
  void (*statistics_vjp)(int64_t n, const float* x, const float* mean, const float* offset, const float* slope,
                         float* dx);
};

template <>
const RowsLoops& loops<RowsLoops, Isa::baseline>();
template <>
const RowsLoops& loops<RowsLoops, Isa::avx2>();
template <>
const RowsLoops& loops<RowsLoops, Isa::avx512>();

}  // namespace hp
