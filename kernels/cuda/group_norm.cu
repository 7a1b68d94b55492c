// Group norm, layer norm among it: a warp or a block per group of one image's channels, sums in double precision.
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/launch.cuh"

namespace hp {

namespace {

// Element e of a group: where it lies, and the channel that its weight belongs to.
struct GroupElements {
  int64_t positions, channels, groups, group_width;

  explicit GroupElements(const GroupNorm& g)
      : positions(g.positions), channels(g.channels), groups(g.groups), group_width(g.channels / g.groups) {}

  __device__ int64_t size() const { return positions * group_width; }
  // `row` counts the groups of all images.
  __device__ int64_t index(int64_t row, int64_t e) const {
    if (positions == 1) return row * group_width + e;
    return (row / groups * positions + e / group_width) * channels + row % groups * group_width + e % group_width;
  }
  __device__ int64_t channel(int64_t row, int64_t e) const {
    return (groups == 1 ? 0 : row % groups * group_width) + (positions == 1 ? e : e % group_width);
  }
};

template <int width>
__device__ Pack<width> load_or(const float* from, int64_t i, float missing) {
  if (from) return load<width>(from + i);
  Pack<width> same;
  for (int k = 0; k < width; ++k) same.at[k] = missing;
  return same;
}

struct NormaliseGroup {
  GroupElements elements;
  int64_t rows;
  float epsilon;
  bool centred;
  const float *x, *weight, *bias;
  float *statistics, *y;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const double size = static_cast<double>(elements.size());
    double total = 0;
    for_columns<width>(team, elements.size(), [&](int64_t e) {
      const Pack<width> values = load<width>(x + elements.index(row, e));
      for (int k = 0; k < width; ++k) total += values.at[k];
    });
    const auto mean = static_cast<float>(Team::reduce(total, Sum(), 0.0) / size);
    double squares = 0;
    for_columns<width>(team, elements.size(), [&](int64_t e) {
      const Pack<width> values = load<width>(x + elements.index(row, e));
      for (int k = 0; k < width; ++k) {
        const double distance = values.at[k] - mean;
        squares = fma(distance, distance, squares);
      }
    });
    const double variance = Team::reduce(squares, Sum(), 0.0) / size;
    const auto inverse = static_cast<float>(1.0 / sqrt(variance + static_cast<double>(epsilon)));
    const float offset = centred ? mean : 0.0f;
    for_columns<width>(team, elements.size(), [&](int64_t e) {
      const int64_t i = elements.index(row, e), c = elements.channel(row, e);
      const Pack<width> values = load<width>(x + i), factors = load_or<width>(weight, c, 1),
                        biases = load_or<width>(bias, c, 0);
      Pack<width> out;
      for (int k = 0; k < width; ++k) {
        out.at[k] = fmaf((values.at[k] - offset) * inverse, factors.at[k], biases.at[k]);
      }
      store<width>(out, y + i);
    });
    if (Team::rank() == 0) {
      statistics[row] = mean;
      statistics[rows + row] = inverse;
    }
  }
};

struct NormaliseGroupVjp {
  GroupElements elements;
  int64_t rows;
  bool centred, detached;
  const float *x, *statistics, *weight, *dy;
  float* dx;

  // `row` counts the groups of all targets' images, `own` those of x.
  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const int64_t own = row % rows;
    const float mean = statistics[own], inverse = statistics[rows + own];
    double message = 0, product = 0;
    for_columns<width>(team, elements.size(), [&](int64_t e) {
      const Pack<width> values = load<width>(x + elements.index(own, e)),
                        messages = load<width>(dy + elements.index(row, e)),
                        factors = load_or<width>(weight, elements.channel(own, e), 1);
      for (int k = 0; k < width; ++k) {
        const double g = static_cast<double>(messages.at[k]) * factors.at[k];
        message += g;
        product = fma(g, static_cast<double>(values.at[k]) - mean, product);
      }
    });
    message = Team::reduce(message, Sum(), 0.0);
    product = Team::reduce(product, Sum(), 0.0);
    if (!centred) product = fma(static_cast<double>(mean), message, product);
    const double size = static_cast<double>(elements.size()), r = inverse;
    const auto offset = static_cast<float>(centred ? r * message / size : 0.0);
    const auto slope = static_cast<float>(detached ? 0.0 : r * r * r * product / size);
    for_columns<width>(team, elements.size(), [&](int64_t e) {
      const int64_t i = elements.index(row, e);
      const Pack<width> values = load<width>(x + elements.index(own, e)), messages = load<width>(dy + i),
                        factors = load_or<width>(weight, elements.channel(own, e), 1);
      Pack<width> out;
      for (int k = 0; k < width; ++k) {
        out.at[k] = fmaf(inverse, messages.at[k] * factors.at[k], -fmaf(slope, values.at[k] - mean, offset));
      }
      store<width>(out, dx + i);
    });
  }
};

// What an element adds to the gradients of its channel's weight and bias.
struct NormParameterTerms {
  GroupElements elements;
  int64_t rows;
  bool centred;
  const float *x, *statistics, *dy;

  __device__ void operator()(int64_t i, int64_t column, double* terms) const {
    const int64_t image = i / elements.channels / elements.positions;
    const int64_t row = image * elements.groups + column / elements.group_width;
    const double offset = centred ? statistics[row] : 0.0f;
    terms[0] = dy[i] * ((x[i] - offset) * statistics[rows + row]);
    terms[1] = dy[i];
  }
};

struct WriteNormParameters {
  int64_t channels;
  float* d;
  __device__ void operator()(int64_t column, const double* sums) const {
    d[column] = static_cast<float>(sums[0]);
    d[channels + column] = static_cast<float>(sums[1]);
  }
};

bool in_packs(const GroupNorm& g, std::initializer_list<const void*> arrays) {
  return is_wide(g.channels / g.groups, arrays);
}

}  // namespace

void CudaKernels::group_norm(const GroupNorm& g, const float* x, const float* weight, const float* bias,
                             float* statistics, float* y) {
  const int64_t rows = g.batch * g.groups;
  for_rows(*state_, "group_norm", rows, g.group_size(), in_packs(g, {x, weight, bias, y}),
           NormaliseGroup{GroupElements(g), rows, g.epsilon, g.centred, x, weight, bias, statistics, y});
}

void CudaKernels::group_norm_vjp(const GroupNorm& g, int targets, bool detached, const float* x,
                                 const float* statistics, const float* weight, const float* dy, float* dx) {
  const int64_t rows = g.batch * g.groups;
  for_rows(*state_, "group_norm_vjp", targets * rows, g.group_size(), in_packs(g, {x, weight, dy, dx}),
           NormaliseGroupVjp{GroupElements(g), rows, g.centred, detached, x, statistics, weight, dy, dx});
}

void CudaKernels::group_norm_parameter_vjp(const GroupNorm& g, const float* x, const float* statistics, const float* dy,
                                           float* d) {
  if (g.channels == 0) return;
  const Rows shape{g.batch * g.positions, g.channels};
  sum_columns<2>(*state_, "group_norm_parameter_vjp", shape, parts_for(*state_, shape, 2),
                 NormParameterTerms{GroupElements(g), g.batch * g.groups, g.centred, x, statistics, dy},
                 WriteNormParameters{g.channels, d});
}

}  // namespace hp
