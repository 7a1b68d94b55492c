// Kernels that work on one row at a time: a warp or a block per row, sums in double precision.
//
// A row is read twice or three times by the same threads within microseconds: only the first time from device memory.
#include "kernels/cuda/launch.cuh"

namespace hp {

namespace {

// The largest number of a row; a NaN shows up in the sums.
template <int width, class Team>
__device__ float largest_of(Team team, int64_t columns, const float* x) {
  float largest = -INFINITY;
  for_columns<width>(team, columns, [&](int64_t c) {
    const Pack<width> values = load<width>(x + c);
    for (int k = 0; k < width; ++k) largest = fmaxf(largest, values.at[k]);
  });
  return Team::reduce(largest, Largest(), -INFINITY);
}

// The sum of term(k-th value of a pack, its column) over a row.
template <int width, class Team, class Term>
__device__ double sum_of(Team team, int64_t columns, Term term) {
  double total = 0;
  for_columns<width>(team, columns, [&](int64_t c) { total += term(c); });
  return Team::reduce(total, Sum(), 0.0);
}

template <int width>
__device__ double exponentials(const float* x, float largest) {
  const Pack<width> values = load<width>(x);
  double total = 0;
  for (int k = 0; k < width; ++k) total += expf(values.at[k] - largest);
  return total;
}

template <int width>
__device__ double dot(const float* a, const float* b) {
  const Pack<width> left = load<width>(a), right = load<width>(b);
  double total = 0;
  for (int k = 0; k < width; ++k) total = fma(static_cast<double>(left.at[k]), static_cast<double>(right.at[k]), total);
  return total;
}

template <int width>
__device__ double sum(const float* x) {
  const Pack<width> values = load<width>(x);
  double total = 0;
  for (int k = 0; k < width; ++k) total += values.at[k];
  return total;
}

// y[c] = f(a[c], b[c])
template <int width, class Team, class F>
__device__ void write_row(Team team, int64_t columns, const float* a, const float* b, float* y, F f) {
  for_columns<width>(team, columns, [&](int64_t c) {
    const Pack<width> left = load<width>(a + c), right = load<width>(b + c);
    Pack<width> out;
    for (int k = 0; k < width; ++k) out.at[k] = f(left.at[k], right.at[k]);
    store<width>(out, y + c);
  });
}

struct Softmax {
  int64_t columns;
  bool log;
  const float* x;
  float* y;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float* in = x + row * columns;
    const float largest = largest_of<width>(team, columns, in);
    const double total = sum_of<width>(team, columns, [=](int64_t c) { return exponentials<width>(in + c, largest); });
    const auto factor = static_cast<float>(1.0 / total), log_sum = static_cast<float>(::log(total));
    write_row<width>(team, columns, in, in, y + row * columns, [=, log = this->log](float v, float) {
      return log ? (v - largest) - log_sum : expf(v - largest) * factor;
    });
  }
};

struct SoftmaxVjp {
  int64_t rows, columns;
  const float *y, *dy;
  float* dx;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float *value = y + row % rows * columns, *message = dy + row * columns;
    const auto mean =
        static_cast<float>(sum_of<width>(team, columns, [=](int64_t c) { return dot<width>(value + c, message + c); }));
    write_row<width>(team, columns, value, message, dx + row * columns,
                     [=](float v, float d) { return v * (d - mean); });
  }
};

struct LogSoftmaxVjp {
  int64_t rows, columns;
  const float *y, *dy;
  float* dx;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float *value = y + row % rows * columns, *message = dy + row * columns;
    const auto total =
        static_cast<float>(sum_of<width>(team, columns, [=](int64_t c) { return sum<width>(message + c); }));
    write_row<width>(team, columns, value, message, dx + row * columns,
                     [=](float v, float d) { return fmaf(-expf(v), total, d); });
  }
};

struct RowDots {
  int64_t rows, columns;
  const float *a, *m;
  float* y;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float *value = a ? a + row % rows * columns : nullptr, *message = m + row * columns;
    const double total = sum_of<width>(
        team, columns, [=](int64_t c) { return value ? dot<width>(value + c, message + c) : sum<width>(message + c); });
    if (Team::rank() == 0) y[row] = static_cast<float>(total);
  }
};

// A pixel's channels are read from memory once for all targets.
struct PixelDots {
  int64_t columns, batch, pixels;
  int targets;
  const float *a, *shift, *w;
  float* y;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float* value = a + row * columns;
    for (int target = 0; target < targets; ++target) {
      const float* weight = w + (target * batch + row / pixels) * columns;
      const double total = sum_of<width>(team, columns, [=, shift = this->shift](int64_t c) {
        if (!shift) return dot<width>(weight + c, value + c);
        const Pack<width> weights = load<width>(weight + c), values = load<width>(value + c),
                          shifts = load<width>(shift + c);
        double part = 0;
        for (int k = 0; k < width; ++k) {
          part = fma(static_cast<double>(weights.at[k]), static_cast<double>(values.at[k]) - shifts.at[k], part);
        }
        return part;
      });
      if (Team::rank() == 0) y[target * batch * pixels + row] = static_cast<float>(total);
    }
  }
};

struct LabelRanks {
  int64_t columns;
  const float* x;
  const int32_t* label;
  int32_t* rank;

  // "Not below" instead of "above": a NaN, here or elsewhere, must never look like a correct answer.
  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float* in = x + row * columns;
    const int64_t own = label[row];
    const float value = in[own];
    int32_t above = 0;
    for_columns<width>(team, columns, [&](int64_t first) {
      const Pack<width> values = load<width>(in + first);
      for (int k = 0; k < width; ++k) {
        const int64_t c = first + k;
        above += c < own ? !(values.at[k] < value) : c > own ? !(values.at[k] <= value) : 0;
      }
    });
    above = Team::reduce(above, Sum(), 0);
    if (Team::rank() == 0) rank[row] = above;
  }
};

}  // namespace

void CudaKernels::softmax(Rows shape, const float* x, float* y) {
  for_rows(*state_, "softmax", shape.rows, shape.columns, is_wide(shape.columns, {x, y}),
           Softmax{shape.columns, false, x, y});
}

void CudaKernels::softmax_vjp(Rows shape, int targets, const float* y, const float* dy, float* dx) {
  for_rows(*state_, "softmax_vjp", targets * shape.rows, shape.columns, is_wide(shape.columns, {y, dy, dx}),
           SoftmaxVjp{shape.rows, shape.columns, y, dy, dx});
}

void CudaKernels::log_softmax(Rows shape, const float* x, float* y) {
  for_rows(*state_, "log_softmax", shape.rows, shape.columns, is_wide(shape.columns, {x, y}),
           Softmax{shape.columns, true, x, y});
}

void CudaKernels::log_softmax_vjp(Rows shape, int targets, const float* y, const float* dy, float* dx) {
  for_rows(*state_, "log_softmax_vjp", targets * shape.rows, shape.columns, is_wide(shape.columns, {y, dy, dx}),
           LogSoftmaxVjp{shape.rows, shape.columns, y, dy, dx});
}

void CudaKernels::row_dots(Rows shape, int targets, const float* a, const float* m, float* y) {
  for_rows(*state_, "row_dots", targets * shape.rows, shape.columns, is_wide(shape.columns, {a, m}),
           RowDots{shape.rows, shape.columns, a, m, y});
}

void CudaKernels::pixel_dots(Rows shape, int64_t batch, int targets, const float* a, const float* shift, const float* w,
                             float* y) {
  for_rows(*state_, "pixel_dots", shape.rows, shape.columns, is_wide(shape.columns, {a, shift, w}),
           PixelDots{shape.columns, batch, shape.rows / batch, targets, a, shift, w, y});
}

void CudaKernels::label_ranks(Rows shape, const float* x, const int32_t* label, int32_t* rank) {
  for_rows(*state_, "label_ranks", shape.rows, shape.columns, is_wide(shape.columns, {x}),
           LabelRanks{shape.columns, x, label, rank});
}

}  // namespace hp
