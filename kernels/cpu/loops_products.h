// Loops of matrix products whose sums are added up in an order that depends on their length alone: what a row or a
// column comes to does not depend on the others, so that layers may be computed side by side as one.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// A tile of results, and what it is made of: a panel holds, for each term of the sums, product_rows or product_columns
// values in a row.
inline constexpr int64_t product_rows = 12, product_columns = 32;

struct ProductLoops {
  // panel[i * width + j] = from[i * step + j] for `columns` of `width`, 0 behind them
  void (*pack)(int64_t rows, int64_t columns, int64_t width, const float* from, int64_t step, float* panel);
  // panel[j * product_columns + i] = from[i * step + j] for `rows` of product_columns, 0 behind them
  void (*pack_transposed)(int64_t rows, int64_t columns, const float* from, int64_t step, float* panel);
  // sums[row * sums_row + column] = sum over `count` terms of left[row * row_step + k] * right[k, column], for a whole
  // tile; added to what is there if `adds`.
  void (*multiply)(int64_t count, const float* left, int64_t row_step, const float* right, bool adds, float* sums,
                   int64_t sums_row);
  // The same of a left panel too.
  void (*multiply_panels)(int64_t count, const float* left, const float* right, float* sums, int64_t sums_row);
  // The first `columns` of a tile's row: + bias, + addend (each may be null), max(0, .) if relu.
  void (*finish)(int64_t columns, const float* sums, const float* bias, const float* addend, bool relu, float* y);
};

template <>
const ProductLoops& loops<ProductLoops, Isa::baseline>();
template <>
const ProductLoops& loops<ProductLoops, Isa::avx2>();
template <>
const ProductLoops& loops<ProductLoops, Isa::avx512>();

}  // namespace hp
