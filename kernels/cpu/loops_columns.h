// ColumnLoops: adds products with a kernel window back to where the window lay (col2im), one input row at a time.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// A convolution's map rows of `width` pixels and a strip of output rows [first_row, end_row) whose columns are
// [row, out_width, kernel_height, kernel_width, channels].
struct ColumnStrip {
  int64_t width, channels, out_width, kernel_height, kernel_width, stride, padding;
  int64_t first_row, end_row;
};

struct ColumnLoops {
  // row[x, c] += the columns of this strip that fall on input row in_y, from top left to bottom right.
  void (*add_row)(const ColumnStrip&, int64_t in_y, const float* columns, float* row);
};

template <>
const ColumnLoops& loops<ColumnLoops, Isa::baseline>();
template <>
const ColumnLoops& loops<ColumnLoops, Isa::avx2>();
template <>
const ColumnLoops& loops<ColumnLoops, Isa::avx512>();

}  // namespace hp
