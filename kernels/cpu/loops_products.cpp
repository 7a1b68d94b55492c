#include "kernels/cpu/loops_products.h"

#include <utility>

#include "kernels/cpu/vector_product.h"

namespace hp {

namespace {

static_assert(product_rows % rows_of_two == 0 && product_columns % (2 * lanes) == 0);

void pack(int64_t rows, int64_t columns, int64_t width, const float* from, int64_t step, float* panel) {
  for (int64_t row = 0; row < rows; ++row, from += step, panel += width) {
    // Panels are packed one after the other: the next one's part of this row.
    for (int64_t column = columns; column < 2 * columns; column += 16) __builtin_prefetch(from + column, 0, 2);
#pragma omp simd
    for (int64_t column = 0; column < columns; ++column) panel[column] = from[column];
    for (int64_t column = columns; column < width; ++column) panel[column] = 0;
  }
}

// Element j of the first result: that of `a` where the bit `step` of j is not set, else of `b` at j - step; of the
// second: that of `a` at j + step, or of `b`.
template <int step, int... j>
inline void exchange(Vector& a, Vector& b, std::integer_sequence<int, j...>) {
  const Vector first = __builtin_shufflevector(a, b, (j & step ? lanes + j - step : j)...);
  b = __builtin_shufflevector(a, b, (j & step ? lanes + j : j + step)...);
  a = first;
}

template <int step>
inline void transpose_by(Vector rows[lanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) {
    if ((i & step) == 0) exchange<step>(rows[i], rows[i | step], std::make_integer_sequence<int, lanes>());
  }
  if constexpr (step > 1) transpose_by<step / 2>(rows);
}

void pack_transposed(int64_t rows, int64_t columns, const float* from, int64_t step, float* panel) {
  for (int64_t first = 0; first < product_columns; first += lanes) {
    int64_t column = 0;
    for (; column + lanes <= columns; column += lanes) {
      Vector block[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        __builtin_prefetch(from + (first + i) * step + column + 4 * lanes);
        block[i] = first + i < rows ? load(from + (first + i) * step + column) : Vector{};
      }
      transpose_by<lanes / 2>(block);
#pragma GCC unroll 16
      for (int j = 0; j < lanes; ++j) store(panel + (column + j) * product_columns + first, block[j]);
    }
    for (; column < columns; ++column) {
      for (int64_t i = first; i < first + lanes; ++i) {
        panel[column * product_columns + i] = i < rows ? from[i * step + column] : 0;
      }
    }
  }
}

template <bool adds>
inline void multiply_tile(int64_t count, ProductLeft left, const float* right, float* sums, int64_t sums_row) {
  for (int64_t row = 0; row < product_rows; row += rows_of_two) {
    for (int64_t column = 0; column < product_columns; column += 2 * lanes) {
      multiply_rows<rows_of_two, 2, adds>(count, {left.values + row * left.row_step, left.row_step, left.step},
                                          {right + column, product_columns}, sums + row * sums_row + column, sums_row);
    }
  }
}

void multiply(int64_t count, const float* left, int64_t row_step, const float* right, bool adds, float* sums,
              int64_t sums_row) {
  if (adds) return multiply_tile<true>(count, {left, row_step, 1}, right, sums, sums_row);
  multiply_tile<false>(count, {left, row_step, 1}, right, sums, sums_row);
}

void multiply_panels(int64_t count, const float* left, const float* right, float* sums, int64_t sums_row) {
  multiply_tile<false>(count, {left, 1, product_rows}, right, sums, sums_row);
}

void finish(int64_t columns, const float* sums, const float* bias, const float* addend, bool relu, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) {
    float value = sums[i];
    if (bias) value += bias[i];
    if (addend) value += addend[i];
    y[i] = relu && value < 0 ? 0 : value;
  }
}

constexpr ProductLoops table{.pack = pack,
                             .pack_transposed = pack_transposed,
                             .multiply = multiply,
                             .multiply_panels = multiply_panels,
                             .finish = finish};

}  // namespace

template <>
const ProductLoops& loops<ProductLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
