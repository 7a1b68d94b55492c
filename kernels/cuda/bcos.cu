// Kernels of B-cos networks. Group g of a row is a row of its own wherever groups lie one behind the other.
#include "kernels/cuda/pixels.cuh"

namespace hp {

namespace {

// s(|u| / n) and how much faster than linearly s u grows: cos / (cos + epsilon), 1 for the square.
struct BcosScale {
  float exponent;
  struct Value {
    float scale, share;
  };
  __device__ Value of(float u, float norm) const {
    constexpr float epsilon = 1e-6f;
    const float cosine = fabsf(u) / norm;
    if (exponent == 1.0f) return {cosine, 1.0f};
    const float base = cosine + epsilon;
    return {expf(exponent * logf(base)), cosine / base};
  }
};

template <int width, class Team>
__device__ double row_dot(Team team, int64_t columns, const float* a, const float* b) {
  double total = 0;
  for_columns<width>(team, columns, [&](int64_t c) {
    const Pack<width> left = load<width>(a + c), right = load<width>(b + c);
    for (int k = 0; k < width; ++k)
      total = fma(static_cast<double>(left.at[k]), static_cast<double>(right.at[k]), total);
  });
  return Team::reduce(total, Sum(), 0.0);
}

struct UnitRows {
  int64_t columns;
  const float* x;
  float* y;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float* in = x + row * columns;
    const double norm = sqrt(row_dot<width>(team, columns, in, in));
    for_columns<width>(team, columns, [&](int64_t c) {
      Pack<width> values = load<width>(in + c);
      for (int k = 0; k < width; ++k) values.at[k] = static_cast<float>(values.at[k] / norm);
      store<width>(values, y + row * columns + c);
    });
  }
};

struct UnitRowsVjp {
  int64_t rows, columns;
  const float *x, *dy;
  float* dx;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float *in = x + row % rows * columns, *message = dy + row * columns;
    const double square = row_dot<width>(team, columns, in, in), norm = sqrt(square);
    const double share = row_dot<width>(team, columns, in, message) / square;
    for_columns<width>(team, columns, [&](int64_t c) {
      const Pack<width> values = load<width>(in + c), messages = load<width>(message + c);
      Pack<width> out;
      for (int k = 0; k < width; ++k) {
        out.at[k] = static_cast<float>(
            fma(-share, static_cast<double>(values.at[k]), static_cast<double>(messages.at[k])) / norm);
      }
      store<width>(out, dx + row * columns + c);
    });
  }
};

// y = s v + addend, or s (1 + exponent share) v for the derivative of s u; a row of u serves all targets.
struct Rescale : BcosScale {
  int64_t rows, columns;
  int targets;
  bool derivative;
  const float *u, *n, *v, *addend;  // no addend: null
  float* y;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float norm = n[row];
    for_columns<width>(team, columns, [&](int64_t c) {
      Pack<width> factor = load<width>(u + row * columns + c);
      for (int k = 0; k < width; ++k) {
        const Value value = of(factor.at[k], norm);
        factor.at[k] = derivative ? value.scale * fmaf(exponent, value.share, 1.0f) : value.scale;
      }
      for (int target = 0; target < targets; ++target) {
        const int64_t at = (target * rows + row) * columns + c;
        Pack<width> values = load<width>(v + at);
        for (int k = 0; k < width; ++k) values.at[k] *= factor.at[k];
        if (addend) {
          const Pack<width> more = load<width>(addend + at);
          for (int k = 0; k < width; ++k) values.at[k] += more.at[k];
        }
        store<width>(values, y + at);
      }
    });
  }
};

// ds/dn = -exponent s share / n
struct NormVjp : BcosScale {
  int64_t rows, columns;
  const float *u, *n, *dy;
  float* dn;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float *values = u + row % rows * columns, *messages = dy + row * columns, norm = n[row % rows];
    double total = 0;
    for_columns<width>(team, columns, [&](int64_t c) {
      const Pack<width> value = load<width>(values + c), message = load<width>(messages + c);
      for (int k = 0; k < width; ++k) {
        const Value scale = of(value.at[k], norm);
        total = fma(static_cast<double>(scale.scale * scale.share * value.at[k]), static_cast<double>(message.at[k]),
                    total);
      }
    });
    total = Team::reduce(total, Sum(), 0.0);
    if (Team::rank() == 0) dn[row] = static_cast<float>(-static_cast<double>(exponent) * total / norm);
  }
};

struct SquareSums {
  int64_t columns;
  const float* x;
  double* sums;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const double total = row_dot<width>(team, columns, x + row * columns, x + row * columns);
    if (Team::rank() == 0) sums[row] = total;
  }
};

// dx[row] = factors[row] x[row mod rows]
struct ScaleRows {
  int64_t rows, columns;
  const float *factors, *x;
  float* dx;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float factor = factors[row];
    for_columns<width>(team, columns, [&](int64_t c) {
      Pack<width> values = load<width>(x + row % rows * columns + c);
      for (int k = 0; k < width; ++k) values.at[k] *= factor;
      store<width>(values, dx + row * columns + c);
    });
  }
};

// The numbers of a Conv2d that its windows are made of.
struct Window {
  int height, width, out_height, out_width, kernel_height, kernel_width, stride, padding, dilation;
  int64_t groups;

  explicit Window(const Conv2d& c)
      : height(static_cast<int>(c.height)),
        width(static_cast<int>(c.width)),
        out_height(static_cast<int>(c.out_height())),
        out_width(static_cast<int>(c.out_width())),
        kernel_height(static_cast<int>(c.kernel_height)),
        kernel_width(static_cast<int>(c.kernel_width)),
        stride(static_cast<int>(c.stride)),
        padding(static_cast<int>(c.padding)),
        dilation(static_cast<int>(c.dilation)),
        groups(c.groups) {}
};

// A thread per output pixel and group ("channel" below): the squares of a pixel's group were summed before.
struct PatchNorms {
  Window window;
  float inside, outside;
  const double* squares;
  float* n;

  __device__ PixelPlace place(unsigned pixel) const {
    return place_of(pixel, static_cast<unsigned>(window.out_height), static_cast<unsigned>(window.out_width));
  }
  template <int width>
  __device__ void run(PixelPlace at, int64_t element, int64_t group) const {
    const int top = static_cast<int>(at.row) * window.stride - window.padding;
    const int left = static_cast<int>(at.column) * window.stride - window.padding;
    double sum = 0;
    for (int tap = 0; tap < window.kernel_height * window.kernel_width; ++tap) {
      const int row = top + tap / window.kernel_width * window.dilation;
      const int column = left + tap % window.kernel_width * window.dilation;
      if (row < 0 || row >= window.height || column < 0 || column >= window.width) continue;
      const int64_t pixel = (int64_t{at.image} * window.height + row) * window.width + column;
      sum += squares[pixel * window.groups + group];
    }
    n[element] = static_cast<float>(sqrt(sum + inside) + outside);
  }
};

// A thread per input pixel and group: the sum over the windows that hold it.
struct PatchNormsVjp {
  Window window;
  unsigned batch;
  float outside;
  const float *n, *dn;
  float* factors;

  __device__ PixelPlace place(unsigned pixel) const {
    return place_of(pixel, static_cast<unsigned>(window.height), static_cast<unsigned>(window.width));
  }
  // The output whose window's tap falls on `position`, or -1.
  __device__ int output_of(int position, int tap, int outputs) const {
    const int shifted = position + window.padding - tap * window.dilation;
    return shifted < 0 || shifted % window.stride != 0 || shifted / window.stride >= outputs ? -1
                                                                                             : shifted / window.stride;
  }
  template <int width>
  __device__ void run(PixelPlace at, int64_t element, int64_t group) const {
    const int64_t pixels = int64_t{window.out_height} * window.out_width;
    double sum = 0;
    for (int i = 0; i < window.kernel_height; ++i) {
      const int row = output_of(static_cast<int>(at.row), i, window.out_height);
      for (int j = 0; row >= 0 && j < window.kernel_width; ++j) {
        const int column = output_of(static_cast<int>(at.column), j, window.out_width);
        if (column < 0) continue;
        const int64_t output = int64_t{row} * window.out_width + column;
        const float root = n[(at.image % batch * pixels + output) * window.groups + group] - outside;
        const float message = dn[(at.image * pixels + output) * window.groups + group];
        if (root > 0.0f) sum += static_cast<double>(message) / root;
      }
    }
    factors[element] = static_cast<float>(sum);
  }
};

}  // namespace

void CudaKernels::unit_rows(Rows shape, const float* x, float* y) {
  for_rows(*state_, "unit_rows", shape.rows, shape.columns, is_wide(shape.columns, {x, y}),
           UnitRows{shape.columns, x, y});
}

void CudaKernels::unit_rows_vjp(Rows shape, int targets, const float* x, const float* dy, float* dx) {
  for_rows(*state_, "unit_rows_vjp", targets * shape.rows, shape.columns, is_wide(shape.columns, {x, dy, dx}),
           UnitRowsVjp{shape.rows, shape.columns, x, dy, dx});
}

void CudaKernels::patch_norms(const Conv2d& shape, float inside, float outside, const float* x, float* n) {
  const int64_t columns = shape.channels / shape.groups, rows = shape.batch * shape.height * shape.width * shape.groups;
  auto* squares =
      static_cast<double*>(state_->scratch(CudaState::Scratch::sums, static_cast<size_t>(rows) * sizeof(double)));
  for_rows(*state_, "patch_norms", rows, columns, is_wide(columns, {x}), SquareSums{columns, x, squares});
  for_pixels(*state_, "patch_norms", shape.batch * shape.out_height() * shape.out_width(), shape.groups, false,
             PatchNorms{Window(shape), inside, outside, squares, n});
}

void CudaKernels::patch_norms_vjp(const Conv2d& shape, int targets, float outside, const float* x, const float* n,
                                  const float* dn, float* dx) {
  const int64_t pixels = shape.batch * shape.height * shape.width, rows = pixels * shape.groups;
  const int64_t columns = shape.channels / shape.groups;
  auto* factors = static_cast<float*>(
      state_->scratch(CudaState::Scratch::sums, static_cast<size_t>(targets * rows) * sizeof(float)));
  for_pixels(*state_, "patch_norms_vjp", targets * pixels, shape.groups, false,
             PatchNormsVjp{Window(shape), static_cast<unsigned>(shape.batch), outside, n, dn, factors});
  for_rows(*state_, "patch_norms_vjp", targets * rows, columns, is_wide(columns, {x, dx}),
           ScaleRows{rows, columns, factors, x, dx});
}

void CudaKernels::bcos_scale(Rows shape, int targets, float exponent, const float* u, const float* n, const float* v,
                             const float* addend, float* y) {
  for_rows(*state_, "bcos_scale", shape.rows, shape.columns, is_wide(shape.columns, {u, v, addend, y}),
           Rescale{{exponent}, shape.rows, shape.columns, targets, false, u, n, v, addend, y});
}

void CudaKernels::bcos_scale_vjp(Rows shape, int targets, float exponent, const float* u, const float* n,
                                 const float* dy, float* du) {
  for_rows(*state_, "bcos_scale_vjp", shape.rows, shape.columns, is_wide(shape.columns, {u, dy, du}),
           Rescale{{exponent}, shape.rows, shape.columns, targets, true, u, n, dy, nullptr, du});
}

void CudaKernels::bcos_norm_vjp(Rows shape, int targets, float exponent, const float* u, const float* n,
                                const float* dy, float* dn) {
  for_rows(*state_, "bcos_norm_vjp", targets * shape.rows, shape.columns, is_wide(shape.columns, {u, dy}),
           NormVjp{{exponent}, shape.rows, shape.columns, u, n, dy, dn});
}

}  // namespace hp
