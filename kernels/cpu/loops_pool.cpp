#include "kernels/cpu/loops_pool.h"

namespace hp {

namespace {

struct Span {
  int64_t begin, end;
};

int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The inputs within the window of output `out`, on one axis.
Span inputs_of(int64_t out, int64_t size, int64_t window, int64_t stride, int64_t padding) {
  const int64_t first = out * stride - padding;
  return {larger(first, 0), smaller(first + window, size)};
}

// The outputs whose window contains input `in`, on one axis.
Span outputs_of(int64_t in, int64_t out_size, int64_t window, int64_t stride, int64_t padding) {
  const int64_t last = (in + padding) / stride;
  const int64_t before = in + padding - window;  // the window that starts here ends right before `in`
  return {before < 0 ? 0 : before / stride + 1, smaller(last + 1, out_size)};
}

void max_into(int64_t count, int32_t position, const float* __restrict x, float* __restrict best,
              int32_t* __restrict argmax) {
  for (int64_t c = 0; c < count; ++c) {
    const bool wins = (x[c] > best[c]) | ((x[c] != x[c]) & (best[c] == best[c]));
    best[c] = wins ? x[c] : best[c];
    argmax[c] = wins ? position : argmax[c];
  }
}

void add_into(int64_t count, float factor, const float* __restrict x, float* __restrict sum) {
  for (int64_t c = 0; c < count; ++c) sum[c] += factor * x[c];
}

void add_where(int64_t count, int32_t position, const int32_t* __restrict argmax, const float* __restrict dy,
               float* __restrict dx) {
  for (int64_t c = 0; c < count; ++c) dx[c] += argmax[c] == position ? dy[c] : 0.0f;
}

void fill(int64_t count, float value, float* y) {
  for (int64_t c = 0; c < count; ++c) y[c] = value;
}

void max_row(const PoolImage& p, int64_t out_y, const float* x, float* y, int32_t* argmax) {
  const int64_t count = p.channel_end - p.channel_begin;
  const Span rows = inputs_of(out_y, p.height, p.window_height, p.stride, p.padding);
  const int64_t first_row = out_y * p.stride - p.padding;
  for (int64_t out_x = 0; out_x < p.out_width; ++out_x) {
    const Span columns = inputs_of(out_x, p.width, p.window_width, p.stride, p.padding);
    const int64_t first_column = out_x * p.stride - p.padding;
    const int64_t at = (out_y * p.out_width + out_x) * p.channels + p.channel_begin;
    fill(count, -__builtin_inff(), y + at);
    const auto position = [&](int64_t row, int64_t column) {
      return static_cast<int32_t>((row - first_row) * p.window_width + column - first_column);
    };
    // A window of -infinities alone keeps its first element.
    const int32_t start = position(rows.begin, columns.begin);
    for (int64_t c = 0; c < count; ++c) argmax[at + c] = start;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t column = columns.begin; column < columns.end; ++column) {
        const float* pixel = x + (row * p.width + column) * p.channels + p.channel_begin;
        max_into(count, position(row, column), pixel, y + at, argmax + at);
      }
    }
  }
}

float area(const PoolImage& p) { return static_cast<float>(p.window_height * p.window_width); }

void average_row(const PoolImage& p, int64_t out_y, const float* x, float* y) {
  const int64_t count = p.channel_end - p.channel_begin;
  const Span rows = inputs_of(out_y, p.height, p.window_height, p.stride, p.padding);
  for (int64_t out_x = 0; out_x < p.out_width; ++out_x) {
    const Span columns = inputs_of(out_x, p.width, p.window_width, p.stride, p.padding);
    float* sum = y + (out_y * p.out_width + out_x) * p.channels + p.channel_begin;
    fill(count, 0.0f, sum);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t column = columns.begin; column < columns.end; ++column) {
        add_into(count, 1.0f, x + (row * p.width + column) * p.channels + p.channel_begin, sum);
      }
    }
    for (int64_t c = 0; c < count; ++c) sum[c] /= area(p);
  }
}

// Calls add(window row, window column, pixel of dy, pixel of dx) for every window element that falls on row in_y, after
// setting the row to zero.
template <class Add>
void gather_row(const PoolImage& p, int64_t in_y, float* dx, Add add) {
  const int64_t count = p.channel_end - p.channel_begin;
  float* row = dx + in_y * p.width * p.channels + p.channel_begin;
  for (int64_t in_x = 0; in_x < p.width; ++in_x) fill(count, 0.0f, row + in_x * p.channels);
  const Span rows = outputs_of(in_y, p.out_height, p.window_height, p.stride, p.padding);
  for (int64_t out_y = rows.begin; out_y < rows.end; ++out_y) {
    const int64_t window_row = in_y + p.padding - out_y * p.stride;
    for (int64_t out_x = 0; out_x < p.out_width; ++out_x) {
      const Span columns = inputs_of(out_x, p.width, p.window_width, p.stride, p.padding);
      const int64_t out_pixel = (out_y * p.out_width + out_x) * p.channels + p.channel_begin;
      for (int64_t column = columns.begin; column < columns.end; ++column) {
        add(window_row, column - (out_x * p.stride - p.padding), out_pixel, row + column * p.channels);
      }
    }
  }
}

void max_row_vjp(const PoolImage& p, int64_t in_y, const int32_t* argmax, const float* dy, float* dx) {
  const int64_t count = p.channel_end - p.channel_begin;
  gather_row(p, in_y, dx, [&](int64_t window_row, int64_t window_column, int64_t out_pixel, float* pixel) {
    const auto position = static_cast<int32_t>(window_row * p.window_width + window_column);
    add_where(count, position, argmax + out_pixel, dy + out_pixel, pixel);
  });
}

void average_row_vjp(const PoolImage& p, int64_t in_y, const float* dy, float* dx) {
  const int64_t count = p.channel_end - p.channel_begin;
  const float share = 1.0f / area(p);
  gather_row(p, in_y, dx,
             [&](int64_t, int64_t, int64_t out_pixel, float* pixel) { add_into(count, share, dy + out_pixel, pixel); });
}

constexpr PoolLoops table{
    .max_row = max_row, .average_row = average_row, .max_row_vjp = max_row_vjp, .average_row_vjp = average_row_vjp};

}  // namespace

template <>
const PoolLoops& loops<PoolLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
