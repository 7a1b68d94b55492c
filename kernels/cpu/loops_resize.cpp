#include "kernels/cpu/loops_resize.h"

namespace hp {

namespace {

// The two inputs that an output lies between, on one axis, and their shares. Half-pixel centres: output o lies at
// (o + 1/2) size / out_size - 1/2 among the inputs; positions beyond the outermost centres take the outermost input.
struct Taps {
  int64_t first, second;
  float first_share, second_share;
};

Taps taps_of(int64_t out, int64_t size, int64_t out_size) {
  const double position = (static_cast<double>(out) + 0.5) * static_cast<double>(size) / static_cast<double>(out_size);
  const double inside = position > 0.5 ? position - 0.5 : 0.0;
  const int64_t below = static_cast<int64_t>(inside);
  const int64_t first = below < size - 1 ? below : size - 1;
  const int64_t second = first < size - 1 ? first + 1 : first;
  const double share = inside - static_cast<double>(first);
  return {first, second, static_cast<float>(1.0 - share), static_cast<float>(share)};
}

void row(const ResizeImage& r, int64_t out_y, const float* x, float* y) {
  const Taps rows = taps_of(out_y, r.height, r.out_height);
  const float* __restrict top = x + rows.first * r.width * r.channels;
  const float* __restrict bottom = x + rows.second * r.width * r.channels;
  for (int64_t out_x = 0; out_x < r.out_width; ++out_x) {
    const Taps columns = taps_of(out_x, r.width, r.out_width);
    const int64_t left = columns.first * r.channels, right = columns.second * r.channels;
    float* __restrict pixel = y + (out_y * r.out_width + out_x) * r.channels;
    for (int64_t c = 0; c < r.channels; ++c) {
      const float above = columns.first_share * top[left + c] + columns.second_share * top[right + c];
      const float below = columns.first_share * bottom[left + c] + columns.second_share * bottom[right + c];
      pixel[c] = rows.first_share * above + rows.second_share * below;
    }
  }
}

void add_row(const ResizeImage& r, float share, const float* dy, float* dx) {
  for (int64_t out_x = 0; out_x < r.out_width; ++out_x) {
    const Taps columns = taps_of(out_x, r.width, r.out_width);
    const float* __restrict message = dy + out_x * r.channels;
    float* __restrict left = dx + columns.first * r.channels;
    for (int64_t c = 0; c < r.channels; ++c) left[c] += share * columns.first_share * message[c];
    float* __restrict right = dx + columns.second * r.channels;
    for (int64_t c = 0; c < r.channels; ++c) right[c] += share * columns.second_share * message[c];
  }
}

void row_vjp(const ResizeImage& r, int64_t in_y, const float* dy, float* dx) {
  float* sums = dx + in_y * r.width * r.channels;
  for (int64_t i = 0; i < r.width * r.channels; ++i) sums[i] = 0.0f;
  // The outputs that can read in_y lie between the centres of its neighbours; the outermost rows also serve those
  // beyond. One more on either side guards against rounding, the taps decide.
  const int64_t before = (in_y - 1) * r.out_height / r.height - 1;
  const int64_t after = (in_y + 2) * r.out_height / r.height + 2;
  const int64_t end = in_y == r.height - 1 || after > r.out_height ? r.out_height : after;
  for (int64_t out_y = in_y == 0 || before < 0 ? 0 : before; out_y < end; ++out_y) {
    const Taps rows = taps_of(out_y, r.height, r.out_height);
    const float share =
        (rows.first == in_y ? rows.first_share : 0.0f) + (rows.second == in_y ? rows.second_share : 0.0f);
    if (share != 0.0f) add_row(r, share, dy + out_y * r.out_width * r.channels, sums);
  }
}

constexpr ResizeLoops table{.row = row, .row_vjp = row_vjp};

}  // namespace

template <>
const ResizeLoops& loops<ResizeLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
