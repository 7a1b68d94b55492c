// Kernels over the rows of [rows, columns]: rows among threads, pieces to the loops.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_rows.h"

namespace hp {

namespace {

std::vector<float> mean_of_first_rows(Rows shape, const float* x) {
  const int64_t rows = std::min<int64_t>(shape.rows, 16);
  std::vector<float> mean(static_cast<size_t>(shape.columns));
  for (int64_t row = 0; row < rows; ++row, x += shape.columns) {
    for (int64_t c = 0; c < shape.columns; ++c) mean[c] += x[c] / static_cast<float>(rows);
  }
  return mean;
}

std::vector<float> batch_norm_scale(int64_t columns, float epsilon, const float* variance, const float* weight) {
  std::vector<float> scale(static_cast<size_t>(columns));
  for (int64_t c = 0; c < columns; ++c) {
    const double factor = weight ? weight[c] : 1.0;
    scale[c] = static_cast<float>(factor / std::sqrt(static_cast<double>(variance[c]) + epsilon));
  }
  return scale;
}

}  // namespace

void CpuKernels::softmax(Rows shape, const float* x, float* y) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  parallel_for(threads_, shape.rows, row_grain(shape.columns), [&](int64_t begin, int64_t end) {
    inner.softmax(end - begin, shape.columns, x + begin * shape.columns, y + begin * shape.columns);
  });
}

void CpuKernels::softmax_vjp(Rows shape, int targets, const float* y, const float* dy, float* dx) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns;
  parallel_for(threads_, targets * shape.rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    for_periods(begin, end, shape.rows, [&](int64_t row, int64_t phase, int64_t count) {
      inner.softmax_vjp(count, columns, y + phase * columns, dy + row * columns, dx + row * columns);
    });
  });
}

void CpuKernels::log_softmax(Rows shape, const float* x, float* y) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  parallel_for(threads_, shape.rows, row_grain(shape.columns), [&](int64_t begin, int64_t end) {
    inner.log_softmax(end - begin, shape.columns, x + begin * shape.columns, y + begin * shape.columns);
  });
}

void CpuKernels::log_softmax_vjp(Rows shape, int targets, const float* y, const float* dy, float* dx) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns;
  parallel_for(threads_, targets * shape.rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    for_periods(begin, end, shape.rows, [&](int64_t row, int64_t phase, int64_t count) {
      inner.log_softmax_vjp(count, columns, y + phase * columns, dy + row * columns, dx + row * columns);
    });
  });
}

void CpuKernels::column_sums(Rows shape, const float* x, float* y) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t repeats = repeats_for(shape.columns, shape.count());
  const double* sums =
      sum_columns(*dnnl_, shape, repeats, 1, [&](int64_t rows, int64_t columns, int64_t offset, double* total) {
        inner.add_values(rows, columns, x + offset, total);
      });
  for (int64_t c = 0; c < shape.columns; ++c) y[c] = static_cast<float>(sums[c]);
}

// In one pass: moments about a guess at the mean. Their difference loses digits only where that lies many deviations
// off.
void CpuKernels::column_statistics(Rows shape, const float* x, float* statistics) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t repeats = repeats_for(shape.columns, shape.count());
  const auto count = static_cast<double>(shape.rows);
  const std::vector<float> guess = mean_of_first_rows(shape, x);
  const Repeated shift(guess.data(), shape.columns, repeats);
  const double* sums =
      sum_columns(*dnnl_, shape, repeats, 2, [&](int64_t rows, int64_t columns, int64_t offset, double* total) {
        inner.add_moments(rows, columns, x + offset, shift.data(), total);
      });
  for (int64_t c = 0; c < shape.columns; ++c) {
    const double distance = sums[c] / count, square = sums[shape.columns + c] / count;
    statistics[c] = static_cast<float>(guess[c] + distance);
    statistics[shape.columns + c] = static_cast<float>(std::max(square - distance * distance, 0.0));
  }
}

void CpuKernels::column_statistics_vjp(Rows shape, const float* x, const float* statistics, const float* dstatistics,
                                       float* dx) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns, n = shape.count(), repeats = repeats_for(columns, n);
  const auto count = static_cast<double>(shape.rows);
  std::vector<float> offset(static_cast<size_t>(columns)), slope = offset;
  for (int64_t c = 0; c < columns; ++c) {
    offset[c] = static_cast<float>(dstatistics[c] / count);
    slope[c] = static_cast<float>(2.0 * dstatistics[columns + c] / count);
  }
  const Repeated means(statistics, columns, repeats), offsets(offset.data(), columns, repeats),
      slopes(slope.data(), columns, repeats);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, repeats * columns, [&](int64_t i, int64_t c, int64_t length) {
      inner.statistics_vjp(length, x + i, means.data() + c, offsets.data() + c, slopes.data() + c, dx + i);
    });
  });
}

void CpuKernels::batch_norm(Rows shape, float epsilon, const float* x, const float* mean, const float* variance,
                            const float* weight, const float* bias, float* y) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns, n = shape.count(), repeats = repeats_for(columns, n);
  const std::vector<float> scale = batch_norm_scale(columns, epsilon, variance, weight);
  const std::vector<float> zeros(bias ? 0 : static_cast<size_t>(columns), 0.0f);
  const Repeated means(mean, columns, repeats), scales(scale.data(), columns, repeats);
  const Repeated biases(bias ? bias : zeros.data(), columns, repeats);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, repeats * columns, [&](int64_t i, int64_t c, int64_t count) {
      inner.normalise(count, x + i, means.data() + c, scales.data() + c, biases.data() + c, y + i);
    });
  });
}

void CpuKernels::batch_norm_vjp(Rows shape, int targets, float epsilon, const float* variance, const float* weight,
                                const float* dy, float* dx) {
  const std::vector<float> scale = batch_norm_scale(shape.columns, epsilon, variance, weight);
  combine(Binary::multiply, targets * shape.count(), shape.columns, dy, scale.data(), dx);
}

void CpuKernels::batch_norm_parameter_vjp(Rows shape, float epsilon, const float* x, const float* mean,
                                          const float* variance, const float* weight, const float* dy, float* d) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns, repeats = repeats_for(columns, shape.count());
  const Repeated means(mean, columns, repeats);
  const double* sums =
      sum_columns(*dnnl_, shape, repeats, 2, [&](int64_t rows, int64_t width, int64_t offset, double* total) {
        inner.add_products(rows, width, x + offset, means.data(), dy + offset, total);
      });
  for (int64_t c = 0; c < columns; ++c) {
    const double inverse = 1.0 / std::sqrt(static_cast<double>(variance[c]) + epsilon);
    const double dy_sum = sums[c], product_sum = sums[columns + c], factor = weight ? weight[c] : 1.0;
    d[c] = static_cast<float>(-factor * inverse * dy_sum);
    d[columns + c] = static_cast<float>(-0.5 * factor * inverse * inverse * inverse * product_sum);
    d[2 * columns + c] = static_cast<float>(inverse * product_sum);
    d[3 * columns + c] = static_cast<float>(dy_sum);
  }
}

void CpuKernels::batch_norm_train(Rows shape, float epsilon, bool relu, const float* x, const float* weight,
                                  const float* bias, float* statistics, float* y) {
  column_statistics(shape, x, statistics);
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns, n = shape.count(), repeats = repeats_for(columns, n);
  const std::vector<float> scale = batch_norm_scale(columns, epsilon, statistics + columns, weight);
  const Repeated means(statistics, columns, repeats), scales(scale.data(), columns, repeats),
      biases(bias, columns, repeats);
  const auto loop = relu ? inner.normalise_relu : inner.normalise;
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, repeats * columns, [&](int64_t i, int64_t c, int64_t count) {
      loop(count, x + i, means.data() + c, scales.data() + c, biases.data() + c, y + i);
    });
  });
}

void CpuKernels::batch_norm_train_vjp(Rows shape, float epsilon, bool relu, const float* x, const float* statistics,
                                      const float* weight, const float* bias, const float* dy, float* dparameters,
                                      float* dx) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns, n = shape.count(), repeats = repeats_for(columns, n);
  const std::vector<float> scale = batch_norm_scale(columns, epsilon, statistics + columns, weight);
  const Repeated means(statistics, columns, repeats), scales(scale.data(), columns, repeats),
      biases(relu ? bias : scale.data(), columns, repeats);
  const double* sums =
      sum_columns(*dnnl_, shape, repeats, 2, [&](int64_t rows, int64_t width, int64_t begin, double* total) {
        if (!relu) return inner.add_products(rows, width, x + begin, means.data(), dy + begin, total);
        inner.add_products_relu(rows, width, x + begin, means.data(), scales.data(), biases.data(), dy + begin, total);
      });
  std::vector<float> offset(static_cast<size_t>(columns)), slope = offset;
  const auto rows = static_cast<double>(shape.rows);
  for (int64_t c = 0; c < columns; ++c) {
    const double inverse = 1.0 / std::sqrt(static_cast<double>(statistics[columns + c]) + epsilon);
    const double factor = inverse * weight[c], product = sums[columns + c] * inverse;
    dparameters[c] = static_cast<float>(product);
    dparameters[columns + c] = static_cast<float>(sums[c]);
    offset[c] = static_cast<float>(factor * sums[c] / rows);
    slope[c] = static_cast<float>(factor * inverse * product / rows);
  }
  if (!dx) return;
  const Repeated offsets(offset.data(), columns, repeats), slopes(slope.data(), columns, repeats);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, repeats * columns, [&](int64_t i, int64_t c, int64_t count) {
      const float *mean = means.data() + c, *factor = scales.data() + c, *shift = offsets.data() + c;
      if (!relu) return inner.train_vjp(count, x + i, mean, factor, shift, slopes.data() + c, dy + i, dx + i);
      inner.train_vjp_relu(count, x + i, mean, factor, biases.data() + c, shift, slopes.data() + c, dy + i, dx + i);
    });
  });
}

void CpuKernels::row_dots(Rows shape, int targets, const float* a, const float* m, float* y) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns;
  parallel_for(threads_, targets * shape.rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    for_periods(begin, end, shape.rows, [&](int64_t row, int64_t phase, int64_t count) {
      inner.row_dots(count, columns, a ? a + phase * columns : nullptr, m + row * columns, y + row);
    });
  });
}

void CpuKernels::pixel_dots(Rows shape, int64_t batch, int targets, const float* a, const float* shift, const float* w,
                            float* y) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  const int64_t columns = shape.columns, pixels = shape.rows / batch;
  const int64_t grain = std::max<int64_t>(1, row_grain(columns) / targets);
  parallel_for(threads_, shape.rows, grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, pixels, [&](int64_t row, int64_t, int64_t count) {
      const int64_t image = row / pixels;
      inner.pixel_dots(count, columns, targets, batch * columns, batch * pixels, a + row * columns, shift,
                       w + image * columns, y + row);
    });
  });
}

void CpuKernels::label_ranks(Rows shape, const float* x, const int32_t* label, int32_t* rank) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  parallel_for(threads_, shape.rows, row_grain(shape.columns), [&](int64_t begin, int64_t end) {
    inner.label_ranks(end - begin, shape.columns, x + begin * shape.columns, label + begin, rank + begin);
  });
}

}  // namespace hp
