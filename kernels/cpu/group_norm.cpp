// Layer norm, row by row, and group norm, whose groups are runs of columns of an image's [positions, channels].
#include <cmath>
#include <vector>

#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_norm.h"
#include "kernels/cpu/loops_rows.h"

namespace hp {

namespace {

bool is_layer_norm(const GroupNorm& g) { return g.positions == 1 && g.groups == 1; }

Rows image_rows(const GroupNorm& g) { return {g.positions, g.channels}; }

// f(group, first channel, end) for the groups of one image.
template <class F>
void for_groups(const GroupNorm& g, F&& f) {
  const int64_t width = g.channels / g.groups;
  for (int64_t group = 0; group < g.groups; ++group) f(group, group * width, (group + 1) * width);
}

// Mean and variance of a group from those of its channels, [2, channels], which have equally many positions.
struct Moments {
  double mean = 0, variance = 0;
};
Moments group_moments(const float* statistics, int64_t channels, int64_t begin, int64_t end) {
  const auto count = static_cast<double>(end - begin);
  Moments m;
  for (int64_t c = begin; c < end; ++c) m.mean += statistics[c] / count;
  for (int64_t c = begin; c < end; ++c) {
    const double distance = statistics[c] - m.mean;
    m.variance += (statistics[channels + c] + distance * distance) / count;
  }
  return m;
}

// What an element of an image's dx is made of, per channel: factor dy - offset - slope (x - mean).
struct ImageVjp {
  std::vector<float> mean, factor, offset, slope;
  explicit ImageVjp(int64_t channels) : mean(static_cast<size_t>(channels)), factor(mean), offset(mean), slope(mean) {}
};

// sums [2, channels]: dy and dy (x - mean), over the positions
void fill_image_vjp(const GroupNorm& g, bool detached, const float* mean, const float* inverse, const float* weight,
                    const double* sums, ImageVjp& vjp) {
  const auto count = static_cast<double>(g.group_size());
  for_groups(g, [&](int64_t group, int64_t begin, int64_t end) {
    double message = 0, product = 0;
    for (int64_t c = begin; c < end; ++c) {
      const double factor = weight ? weight[c] : 1.0;
      message += factor * sums[c];
      product += factor * sums[g.channels + c];
    }
    const double r = inverse[group];
    if (!g.centred) product += mean[group] * message;
    for (int64_t c = begin; c < end; ++c) {
      vjp.mean[c] = mean[group];
      vjp.factor[c] = static_cast<float>(r * (weight ? weight[c] : 1.0));
      vjp.offset[c] = g.centred ? static_cast<float>(r * message / count) : 0.0f;
      vjp.slope[c] = detached ? 0.0f : static_cast<float>(r * r * r * product / count);
    }
  });
}

}  // namespace

void CpuKernels::group_norm(const GroupNorm& g, const float* x, const float* weight, const float* bias,
                            float* statistics, float* y) {
  float *mean = statistics, *inverse = statistics + g.batch * g.groups;
  if (is_layer_norm(g)) {
    const NormLoops& inner = loops_for<NormLoops>(isa_);
    return parallel_for(threads_, g.batch, row_grain(g.channels), [&](int64_t begin, int64_t end) {
      inner.layer_norm(end - begin, g.channels, g.epsilon, g.centred, x + begin * g.channels, weight, bias,
                       mean + begin, inverse + begin, y + begin * g.channels);
    });
  }
  const int64_t size = image_rows(g).count();
  std::vector<float> channel(2 * static_cast<size_t>(g.channels)), shift(channel.size() / 2), variance(shift.size());
  for (int64_t image = 0; image < g.batch; ++image, mean += g.groups, inverse += g.groups) {
    column_statistics(image_rows(g), x + image * size, channel.data());
    for_groups(g, [&](int64_t group, int64_t begin, int64_t end) {
      const Moments m = group_moments(channel.data(), g.channels, begin, end);
      mean[group] = static_cast<float>(m.mean);
      inverse[group] = static_cast<float>(1.0 / std::sqrt(m.variance + g.epsilon));
      for (int64_t c = begin; c < end; ++c) {
        shift[c] = g.centred ? mean[group] : 0.0f;
        variance[c] = static_cast<float>(m.variance);
      }
    });
    batch_norm(image_rows(g), g.epsilon, x + image * size, shift.data(), variance.data(), weight, bias,
               y + image * size);
  }
}

void CpuKernels::group_norm_vjp(const GroupNorm& g, int targets, bool detached, const float* x, const float* statistics,
                                const float* weight, const float* dy, float* dx) {
  const float *mean = statistics, *inverse = statistics + g.batch * g.groups;
  const int64_t channels = g.channels;
  if (is_layer_norm(g)) {
    const NormLoops& inner = loops_for<NormLoops>(isa_);
    return parallel_for(threads_, targets * g.batch, row_grain(channels), [&](int64_t begin, int64_t end) {
      for_periods(begin, end, g.batch, [&](int64_t row, int64_t phase, int64_t count) {
        inner.layer_norm_vjp(count, channels, g.centred, detached, x + phase * channels, mean + phase, inverse + phase,
                             weight, dy + row * channels, dx + row * channels);
      });
    });
  }
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t size = image_rows(g).count(), repeats = repeats_for(channels, size);
  ImageVjp vjp(channels);
  for (int64_t image = 0; image < targets * g.batch; ++image) {
    const int64_t own = image % g.batch;
    const float *in = x + own * size, *message = dy + image * size;
    for_groups(g, [&](int64_t group, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) vjp.mean[c] = mean[own * g.groups + group];
    });
    const Repeated means(vjp.mean.data(), channels, repeats);
    const double* sums =
        sum_columns(*dnnl_, image_rows(g), repeats, 2, [&](int64_t rows, int64_t width, int64_t offset, double* total) {
          inner.add_products(rows, width, in + offset, means.data(), message + offset, total);
        });
    fill_image_vjp(g, detached, mean + own * g.groups, inverse + own * g.groups, weight, sums, vjp);
    const Repeated factors(vjp.factor.data(), channels, repeats), offsets(vjp.offset.data(), channels, repeats),
        slopes(vjp.slope.data(), channels, repeats);
    float* out = dx + image * size;
    parallel_for(threads_, size, element_grain, [&](int64_t begin, int64_t end) {
      for_periods(begin, end, repeats * channels, [&](int64_t i, int64_t c, int64_t count) {
        inner.train_vjp(count, in + i, means.data() + c, factors.data() + c, offsets.data() + c, slopes.data() + c,
                        message + i, out + i);
      });
    });
  }
}

void CpuKernels::group_norm_parameter_vjp(const GroupNorm& g, const float* x, const float* statistics, const float* dy,
                                          float* d) {
  const float *mean = statistics, *inverse = statistics + g.batch * g.groups;
  const int64_t channels = g.channels;
  if (is_layer_norm(g)) {
    const NormLoops& inner = loops_for<NormLoops>(isa_);
    const double* sums =
        sum_columns(*dnnl_, {g.batch, channels}, 1, 2, [&](int64_t rows, int64_t, int64_t offset, double* total) {
          const int64_t row = offset / channels;
          inner.add_layer_products(rows, channels, g.centred, x + offset, mean + row, inverse + row, dy + offset,
                                   total);
        });
    for (int64_t c = 0; c < 2 * channels; ++c) d[c] = static_cast<float>(sums[c]);
    return;
  }
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t size = image_rows(g).count();
  std::vector<double> totals(2 * static_cast<size_t>(channels));
  std::vector<float> shift(static_cast<size_t>(channels));
  for (int64_t image = 0; image < g.batch; ++image, mean += g.groups, inverse += g.groups) {
    for_groups(g, [&](int64_t group, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) shift[c] = g.centred ? mean[group] : 0.0f;
    });
    const double* sums =
        sum_columns(*dnnl_, image_rows(g), 1, 2, [&](int64_t rows, int64_t width, int64_t offset, double* total) {
          inner.add_products(rows, width, x + image * size + offset, shift.data(), dy + image * size + offset, total);
        });
    for_groups(g, [&](int64_t group, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        totals[c] += sums[channels + c] * inverse[group];
        totals[channels + c] += sums[c];
      }
    });
  }
  for (int64_t c = 0; c < 2 * channels; ++c) d[c] = static_cast<float>(totals[c]);
}

}  // namespace hp
