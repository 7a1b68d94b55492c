#include "kernels/cpu/loops_columns.h"

namespace hp {

namespace {

int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline void add(int64_t count, const float* __restrict from, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// One row of a kernel window for every output of a row: floats [window_row, kernel_width, channels] of each column.
void add_windows(const ColumnStrip& s, const float* columns, float* row) {
  const int64_t column_size = s.kernel_height * s.kernel_width * s.channels;
  const int64_t segment = s.kernel_width * s.channels;
  for (int64_t out_x = 0; out_x < s.out_width; ++out_x) {
    const float* from = columns + out_x * column_size;
    const int64_t first = out_x * s.stride - s.padding;
    if (first >= 0 && first + s.kernel_width <= s.width) {
      // The 7x7 kernel over RGB, where a known length saves half of the time.
      if (segment == 21) {
        add(21, from, row + first * s.channels);
      } else {
        add(segment, from, row + first * s.channels);
      }
      continue;
    }
    const int64_t begin = larger(-first, 0), end = smaller(s.kernel_width, s.width - first);
    if (begin < end) add((end - begin) * s.channels, from + begin * s.channels, row + (first + begin) * s.channels);
  }
}

void add_row(const ColumnStrip& s, int64_t in_y, const float* columns, float* row) {
  for (int64_t out_y = s.first_row; out_y < s.end_row; ++out_y) {
    const int64_t window_row = in_y + s.padding - out_y * s.stride;
    if (window_row < 0 || window_row >= s.kernel_height) continue;
    const int64_t before = (out_y - s.first_row) * s.out_width * s.kernel_height + window_row;
    add_windows(s, columns + before * s.kernel_width * s.channels, row);
  }
}

constexpr ColumnLoops table{.add_row = add_row};

}  // namespace

template <>
const ColumnLoops& loops<ColumnLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
