// sum_columns: sums over the rows of [rows, columns], whatever the number of threads always with the same bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/periods.h"
#include "runtime/kernels.h"

namespace hp {

// Sums over the rows, per column, in double precision. The rows are cut into blocks by the shape alone, and the blocks'
// sums added in order, so that the number of threads does not change the bits. Narrow rows are read `repeats` at a
// time, as one wide row, to fill vectors: add(rows, columns, offset, sums) adds rows of that width, which begin at
// element `offset`, to kinds * columns sums. The result lies in the scratch memory until the next call.
template <class Add>
const double* sum_columns(DnnlState& state, Rows shape, int64_t repeats, int kinds, Add&& add) {
  const int64_t columns = shape.columns, width = repeats * columns;
  const int64_t wide_rows = shape.rows / repeats, left_over = shape.rows % repeats;
  const int64_t blocks = std::min<int64_t>(64, wide_rows / row_grain(width) + 1);
  const int64_t count = kinds * columns, partials = blocks * kinds * width;
  auto* sums = static_cast<double*>(state.scratch(DnnlState::Scratch::sums, sizeof(double) * (count + partials)));
  double* partial = sums + count;
  parallel_for(state.threads(), blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = wide_rows * block / blocks, last = wide_rows * (block + 1) / blocks;
      double* own = partial + block * kinds * width;
      std::fill_n(own, kinds * width, 0.0);
      add(last - first, width, first * width, own);
    }
  });
  for (int64_t block = 1; block < blocks; ++block) {
    const double* own = partial + block * kinds * width;
    for (int64_t i = 0; i < kinds * width; ++i) partial[i] += own[i];
  }
  std::fill_n(sums, count, 0.0);
  add(left_over, columns, wide_rows * width, sums);
  for (int64_t i = 0; i < kinds * repeats; ++i) {
    double* kind = sums + i / repeats * columns;
    for (int64_t c = 0; c < columns; ++c) kind[c] += partial[i * columns + c];
  }
  return sums;
}

}  // namespace hp
