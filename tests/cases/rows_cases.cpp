#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

using Vector = std::vector<double>;

Vector softmax(Rows shape, const Vector& x) {
  Vector y(x.size());
  for (int64_t row = 0; row < shape.rows; ++row) {
    const auto begin = x.begin() + row * shape.columns;
    const double largest = *std::max_element(begin, begin + shape.columns);
    double sum = 0;
    for (int64_t c = 0; c < shape.columns; ++c) sum += std::exp(begin[c] - largest);
    for (int64_t c = 0; c < shape.columns; ++c) y[row * shape.columns + c] = std::exp(begin[c] - largest) / sum;
  }
  return y;
}

Vector log_softmax(Rows shape, const Vector& x) {
  Vector y(x.size());
  for (int64_t row = 0; row < shape.rows; ++row) {
    const auto begin = x.begin() + row * shape.columns;
    const double largest = *std::max_element(begin, begin + shape.columns);
    double sum = 0;
    for (int64_t c = 0; c < shape.columns; ++c) sum += std::exp(begin[c] - largest);
    for (int64_t c = 0; c < shape.columns; ++c) y[row * shape.columns + c] = begin[c] - largest - std::log(sum);
  }
  return y;
}

// [2, columns]: mean and biased variance
Vector column_statistics(Rows shape, const Vector& x) {
  Vector statistics(2 * shape.columns);
  for (int64_t c = 0; c < shape.columns; ++c) {
    double mean = 0, square = 0;
    for (int64_t row = 0; row < shape.rows; ++row) mean += x[row * shape.columns + c] / shape.rows;
    for (int64_t row = 0; row < shape.rows; ++row)
      square += std::pow(x[row * shape.columns + c] - mean, 2) / shape.rows;
    statistics[c] = mean;
    statistics[shape.columns + c] = square;
  }
  return statistics;
}

// parameters [4, columns]: mean, variance, weight, bias
Vector batch_norm(Rows shape, double epsilon, const Vector& x, const Vector& parameters) {
  const int64_t columns = shape.columns;
  Vector y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double* p = parameters.data() + i % columns;
    y[i] = (x[i] - p[0]) / std::sqrt(p[columns] + epsilon) * p[2 * columns] + p[3 * columns];
  }
  return y;
}

Array batch_norm_parameters(int64_t columns) {
  Array parameters = uniform(4 * columns, -1, 1, 31);
  for (int64_t c = 0; c < columns; ++c) parameters.floats[columns + c] += 1.5f;
  return parameters;
}

Array floats_of(const Vector& doubles) { return values({doubles.begin(), doubles.end()}); }

std::string size_of(Rows shape, int targets = 1) {
  return fmt::format("{}x{}{}", shape.rows, shape.columns, targets > 1 ? fmt::format(" targets {}", targets) : "");
}

KernelCase softmax_case(Rows shape, double range) {
  return {.name = fmt::format("softmax {} range {}", size_of(shape), range),
          .inputs = {uniform(shape.count(), -range, range, 1)},
          .outputs = {output(shape.count())},
          .call = [=](Kernels& k, const Arguments& a) { k.softmax(shape, a.in(0), a.out(0)); },
          .reference = [=](const Values& in, Values& out) { out[0] = softmax(shape, in[0]); }};
}

KernelCase softmax_vjp_case(Rows shape, int targets) {
  const int64_t n = shape.count();
  const Array x = uniform(n, -4, 4, 2);
  return {.name = fmt::format("softmax_vjp {}", size_of(shape, targets)),
          .inputs = {x, floats_of(softmax(shape, as_doubles(x))), per_target(uniform(targets * n, -1, 1, 3))},
          .outputs = {per_target(output(targets * n))},
          .call = [=](Kernels& k, const Arguments& a) { k.softmax_vjp(shape, a.targets, a.in(1), a.in(2), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t row = 0; row < targets * shape.rows; ++row) {
                  const double* y = in[1].data() + row % shape.rows * shape.columns;
                  const double* dy = in[2].data() + row * shape.columns;
                  const double mean = std::inner_product(y, y + shape.columns, dy, 0.0);
                  for (int64_t c = 0; c < shape.columns; ++c) out[0][row * shape.columns + c] = y[c] * (dy[c] - mean);
                }
              },
          .targets = targets,
          .derivatives = {{.by = 0, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                             out[0] = softmax(shape, in[0]);
                           }}}};
}

KernelCase log_softmax_case(Rows shape, double range) {
  return {.name = fmt::format("log_softmax {} range {}", size_of(shape), range),
          .inputs = {uniform(shape.count(), -range, range, 4)},
          .outputs = {output(shape.count())},
          .call = [=](Kernels& k, const Arguments& a) { k.log_softmax(shape, a.in(0), a.out(0)); },
          .reference = [=](const Values& in, Values& out) { out[0] = log_softmax(shape, in[0]); }};
}

KernelCase log_softmax_vjp_case(Rows shape, int targets) {
  const int64_t n = shape.count();
  const Array x = uniform(n, -4, 4, 5);
  return {
      .name = fmt::format("log_softmax_vjp {}", size_of(shape, targets)),
      .inputs = {x, floats_of(log_softmax(shape, as_doubles(x))), per_target(uniform(targets * n, -1, 1, 6))},
      .outputs = {per_target(output(targets * n))},
      .call = [=](Kernels& k, const Arguments& a) { k.log_softmax_vjp(shape, a.targets, a.in(1), a.in(2), a.out(0)); },
      .reference =
          [=](const Values& in, Values& out) {
            for (int64_t row = 0; row < targets * shape.rows; ++row) {
              const double* y = in[1].data() + row % shape.rows * shape.columns;
              const double* dy = in[2].data() + row * shape.columns;
              const double sum = std::accumulate(dy, dy + shape.columns, 0.0);
              for (int64_t c = 0; c < shape.columns; ++c) {
                out[0][row * shape.columns + c] = dy[c] - std::exp(y[c]) * sum;
              }
            }
          },
      .targets = targets,
      .derivatives = {{.by = 0, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                         out[0] = log_softmax(shape, in[0]);
                       }}}};
}

KernelCase column_sums_case(Rows shape) {
  return {.name = fmt::format("column_sums {}", size_of(shape)),
          .inputs = {uniform(shape.count(), -1, 1, 7)},
          .outputs = {output(shape.columns)},
          .call = [=](Kernels& k, const Arguments& a) { k.column_sums(shape, a.in(0), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                std::ranges::fill(out[0], 0);
                for (size_t i = 0; i < in[0].size(); ++i) out[0][i % shape.columns] += in[0][i];
              }};
}

KernelCase column_statistics_case(Rows shape, double centre) {
  return {.name = fmt::format("column_statistics {} about {}", size_of(shape), centre),
          .inputs = {uniform(shape.count(), centre - 1, centre + 1, 8)},
          .outputs = {output(2 * shape.columns)},
          .call = [=](Kernels& k, const Arguments& a) { k.column_statistics(shape, a.in(0), a.out(0)); },
          .reference = [=](const Values& in, Values& out) { out[0] = column_statistics(shape, in[0]); }};
}

KernelCase column_statistics_vjp_case(Rows shape) {
  const Array x = uniform(shape.count(), -1, 3, 9);
  return {.name = fmt::format("column_statistics_vjp {}", size_of(shape)),
          .inputs = {x, floats_of(column_statistics(shape, as_doubles(x))), uniform(2 * shape.columns, -1, 1, 10)},
          .outputs = {output(shape.count())},
          .call = [=](Kernels& k,
                      const Arguments& a) { k.column_statistics_vjp(shape, a.in(0), a.in(1), a.in(2), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (size_t i = 0; i < out[0].size(); ++i) {
                  const size_t c = i % shape.columns;
                  out[0][i] = (in[2][c] + 2 * (in[0][i] - in[1][c]) * in[2][shape.columns + c]) / shape.rows;
                }
              },
          .derivatives = {{.by = 0, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                             out[0] = column_statistics(shape, in[0]);
                           }}}};
}

KernelCase batch_norm_case(Rows shape, float epsilon) {
  const int64_t columns = shape.columns;
  return {.name = fmt::format("batch_norm {}", size_of(shape)),
          .inputs = {uniform(shape.count(), -2, 2, 11), batch_norm_parameters(columns)},
          .outputs = {output(shape.count())},
          .call =
              [=](Kernels& k, const Arguments& a) {
                const float* p = a.in(1);
                k.batch_norm(shape, epsilon, a.in(0), p, p + columns, p + 2 * columns, p + 3 * columns, a.out(0));
              },
          .reference = [=](const Values& in, Values& out) { out[0] = batch_norm(shape, epsilon, in[0], in[1]); }};
}

KernelCase batch_norm_vjp_case(Rows shape, int targets, float epsilon) {
  const int64_t n = shape.count(), columns = shape.columns;
  return {
      .name = fmt::format("batch_norm_vjp {}", size_of(shape, targets)),
      .inputs = {uniform(n, -2, 2, 12), batch_norm_parameters(columns), per_target(uniform(targets * n, -1, 1, 13))},
      .outputs = {per_target(output(targets * n))},
      .call =
          [=](Kernels& k, const Arguments& a) {
            k.batch_norm_vjp(shape, a.targets, epsilon, a.in(1) + columns, a.in(1) + 2 * columns, a.in(2), a.out(0));
          },
      .reference =
          [=](const Values& in, Values& out) {
            for (size_t i = 0; i < out[0].size(); ++i) {
              const double* p = in[1].data() + i % columns;
              out[0][i] = in[2][i] * p[2 * columns] / std::sqrt(p[columns] + epsilon);
            }
          },
      .targets = targets,
      .derivatives = {{.by = 0, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                         out[0] = batch_norm(shape, epsilon, in[0], in[1]);
                       }}}};
}

KernelCase batch_norm_parameter_vjp_case(Rows shape, float epsilon) {
  const int64_t columns = shape.columns;
  return {
      .name = fmt::format("batch_norm_parameter_vjp {}", size_of(shape)),
      .inputs = {uniform(shape.count(), -2, 2, 14), batch_norm_parameters(columns), uniform(shape.count(), -1, 1, 15)},
      .outputs = {output(4 * columns)},
      .call =
          [=](Kernels& k, const Arguments& a) {
            const float* p = a.in(1);
            k.batch_norm_parameter_vjp(shape, epsilon, a.in(0), p, p + columns, p + 2 * columns, a.in(2), a.out(0));
          },
      .reference =
          [=](const Values& in, Values& out) {
            std::ranges::fill(out[0], 0);
            for (size_t i = 0; i < in[0].size(); ++i) {
              const size_t c = i % columns;
              const double mean = in[1][c], variance = in[1][columns + c], weight = in[1][2 * columns + c];
              const double deviation = std::sqrt(variance + epsilon), dy = in[2][i];
              out[0][c] -= dy * weight / deviation;
              out[0][columns + c] -= dy * weight * (in[0][i] - mean) / (2 * deviation * deviation * deviation);
              out[0][2 * columns + c] += dy * (in[0][i] - mean) / deviation;
              out[0][3 * columns + c] += dy;
            }
          },
      .derivatives = {{.by = 1, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                         out[0] = batch_norm(shape, epsilon, in[0], in[1]);
                       }}}};
}

// in: x, [weight, bias] as rows of one array.
std::vector<double> batch_norm_train(Rows shape, float epsilon, const std::vector<double>& x,
                                     const std::vector<double>& affine) {
  std::vector<double> parameters = column_statistics(shape, x);
  parameters.insert(parameters.end(), affine.begin(), affine.end());
  return batch_norm(shape, epsilon, x, parameters);
}

KernelCase batch_norm_train_case(Rows shape, float epsilon, bool relu) {
  const int64_t columns = shape.columns;
  return {.name = fmt::format("batch_norm_train {}{}", size_of(shape), relu ? " relu" : ""),
          .inputs = {uniform(shape.count(), -1, 3, 23), uniform(2 * columns, -1, 1, 24)},
          .outputs = {output(2 * columns), output(shape.count())},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.batch_norm_train(shape, epsilon, relu, a.in(0), a.in(1), a.in(1) + columns, a.out(0), a.out(1));
              },
          .reference =
              [=](const Values& in, Values& out) {
                out[0] = column_statistics(shape, in[0]);
                out[1] = batch_norm_train(shape, epsilon, in[0], in[1]);
                for (double& y : out[1]) y = relu ? std::max(y, 0.0) : y;
              },
          .tolerance = 2e-6};
}

// in: x, _, [weight, bias]; what a ReLU behind the batch norm lets through.
std::vector<double> batch_norm_train(Rows shape, float epsilon, bool relu, const Values& in) {
  std::vector<double> y = batch_norm_train(shape, epsilon, in[0], in[2]);
  for (double& value : y) value = relu ? std::max(value, 0.0) : value;
  return y;
}

// With a ReLU, messages are 0 where its input is so near to 0 that rounding decides.
KernelCase batch_norm_train_vjp_case(Rows shape, float epsilon, bool relu) {
  const int64_t columns = shape.columns;
  const Array x = uniform(shape.count(), -1, 3, 25), affine = uniform(2 * columns, 0.5, 1.5, 26);
  Array dy = uniform(shape.count(), -1, 1, 27);
  const std::vector<double> y = batch_norm_train(shape, epsilon, as_doubles(x), as_doubles(affine));
  for (size_t i = 0; relu && i < y.size(); ++i) dy.floats[i] = std::abs(y[i]) < 1e-3 ? 0 : dy.floats[i];
  const auto forward = [=](const Values& in, Values& out) { out[0] = batch_norm_train(shape, epsilon, relu, in); };
  return {.name = fmt::format("batch_norm_train_vjp {}{}", size_of(shape), relu ? " relu" : ""),
          .inputs = {x, floats_of(column_statistics(shape, as_doubles(x))), affine, dy},
          .outputs = {output(2 * columns), output(shape.count())},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.batch_norm_train_vjp(shape, epsilon, relu, a.in(0), a.in(1), a.in(2), a.in(2) + columns, a.in(3),
                                       a.out(0), a.out(1));
              },
          .reference =
              [=](const Values& in, Values& out) {
                std::ranges::fill(out[0], 0);
                auto normalised = [&](size_t i) {
                  return (in[0][i] - in[1][i % columns]) / std::sqrt(in[1][columns + i % columns] + epsilon);
                };
                auto message = [&](size_t i) {
                  const double y = normalised(i) * in[2][i % columns] + in[2][columns + i % columns];
                  return relu && y <= 0 ? 0 : in[3][i];
                };
                for (size_t i = 0; i < in[0].size(); ++i) {
                  out[0][i % columns] += message(i) * normalised(i);
                  out[0][columns + i % columns] += message(i);
                }
                for (size_t i = 0; i < in[0].size(); ++i) {
                  const size_t c = i % columns;
                  const double centred = message(i) - (out[0][columns + c] + normalised(i) * out[0][c]) / shape.rows;
                  out[1][i] = in[2][c] / std::sqrt(in[1][columns + c] + epsilon) * centred;
                }
              },
          .tolerance = 2e-6,
          .derivatives = {{.by = 0, .message = 3, .output = 1, .forward = forward},
                          {.by = 2, .message = 3, .output = 0, .forward = forward}}};
}

KernelCase row_dots_case(Rows shape, int targets, bool ones) {
  const int64_t n = shape.count();
  return {
      .name = fmt::format("row_dots {}{}", size_of(shape, targets), ones ? " with 1" : ""),
      .inputs = {uniform(n, -1, 1, 16), per_target(uniform(targets * n, -1, 1, 17))},
      .outputs = {per_target(output(targets * shape.rows))},
      .call = [=](Kernels& k,
                  const Arguments& a) { k.row_dots(shape, a.targets, ones ? nullptr : a.in(0), a.in(1), a.out(0)); },
      .reference =
          [=](const Values& in, Values& out) {
            std::ranges::fill(out[0], 0);
            for (size_t i = 0; i < in[1].size(); ++i) {
              out[0][i / shape.columns] += (ones ? 1 : in[0][i % n]) * in[1][i];
            }
          },
      .targets = targets};
}

KernelCase pixel_dots_case(Rows shape, int64_t batch, int targets, bool shifted) {
  const int64_t columns = shape.columns, pixels = shape.rows / batch;
  return {.name = fmt::format("pixel_dots {} batch {}{}", size_of(shape, targets), batch, shifted ? " shifted" : ""),
          .inputs = {uniform(shape.count(), -1, 1, 18), uniform(columns, -1, 1, 19),
                     per_target(uniform(targets * batch * columns, -1, 1, 20))},
          .outputs = {per_target(output(targets * shape.rows))},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.pixel_dots(shape, batch, a.targets, a.in(0), shifted ? a.in(1) : nullptr, a.in(2), a.out(0));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t row = 0; row < targets * shape.rows; ++row) {
                  double sum = 0;
                  for (int64_t c = 0; c < columns; ++c) {
                    const double shift = shifted ? in[1][c] : 0;
                    sum += in[2][row / pixels * columns + c] * (in[0][row % shape.rows * columns + c] - shift);
                  }
                  out[0][row] = sum;
                }
              },
          .targets = targets,
          .flops = 2.0 * static_cast<double>(targets * shape.count())};
}

// Values in steps of 1/4, so that there are ties; the reference is the label's place in a stable descending sort.
KernelCase label_ranks_case(Rows shape) {
  Array x = uniform(shape.count(), -2, 2, 21);
  for (float& value : x.floats) value = std::round(4 * value) / 4;
  return {.name = fmt::format("label_ranks {}", size_of(shape)),
          .inputs = {x, uniform_ints(shape.rows, 0, static_cast<int32_t>(shape.columns), 22)},
          .outputs = {output_ints(shape.rows)},
          .call = [=](Kernels& k, const Arguments& a) { k.label_ranks(shape, a.in(0), a.in_ints(1), a.out_ints(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                std::vector<int64_t> order(shape.columns);
                for (int64_t row = 0; row < shape.rows; ++row) {
                  const double* x = in[0].data() + row * shape.columns;
                  std::iota(order.begin(), order.end(), 0);
                  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return x[a] > x[b]; });
                  const auto label = static_cast<int64_t>(in[1][row]);
                  out[0][row] = static_cast<double>(std::ranges::find(order, label) - order.begin());
                }
              },
          .tolerance = 0};
}

}  // namespace

std::vector<KernelCase> rows_cases() {
  std::vector<KernelCase> cases;
  std::vector<Rows> shapes;
  for (const int64_t rows : {1, 7, 64}) {
    for (const int64_t columns : {1, 3, 16, 17, 197, 1000}) shapes.push_back({rows, columns});
  }
  shapes.push_back({1003, 3});
  shapes.push_back({1003, 17});
  for (const Rows shape : shapes) {
    for (const double range : {3.0, 1e4}) {
      cases.push_back(softmax_case(shape, range));
      cases.push_back(log_softmax_case(shape, range));
    }
    cases.push_back(softmax_vjp_case(shape, 3));
    cases.push_back(log_softmax_vjp_case(shape, 3));
    cases.push_back(column_sums_case(shape));
    cases.push_back(column_statistics_case(shape, 0.5));
    cases.push_back(column_statistics_vjp_case(shape));
    cases.push_back(batch_norm_case(shape, 1e-5f));
    cases.push_back(batch_norm_vjp_case(shape, 3, 1e-5f));
    cases.push_back(batch_norm_parameter_vjp_case(shape, 1e-5f));
    if (shape.rows > 1) {  // one row has no variance: all of y hangs on rounding
      for (const bool relu : {false, true}) {
        cases.push_back(batch_norm_train_case(shape, 1e-5f, relu));
        cases.push_back(batch_norm_train_vjp_case(shape, 1e-5f, relu));
      }
    }
    cases.push_back(row_dots_case(shape, 3, false));
    cases.push_back(row_dots_case(shape, 3, true));
    cases.push_back(label_ranks_case(shape));
  }
  cases.push_back(column_statistics_case({1003, 17}, 1000));  // the variance is a millionth of the squared mean
  for (const bool shifted : {false, true}) {
    cases.push_back(pixel_dots_case({1, 1}, 1, 3, shifted));
    cases.push_back(pixel_dots_case({2 * 49, 17}, 2, 3, shifted));
    cases.push_back(pixel_dots_case({3 * 64, 197}, 3, 1, shifted));
    cases.push_back(pixel_dots_case({2 * 441, 512}, 2, 9, shifted));
  }
  const Rows attention{12 * 197, 197}, features{56 * 56, 256}, images{9, 150528};
  cases.push_back(softmax_case(attention, 3));
  cases.push_back(softmax_vjp_case(attention, 1));
  cases.push_back(log_softmax_case({256, 1000}, 3));
  cases.push_back(column_sums_case(features));
  cases.push_back(column_statistics_case(features, 0.5));
  cases.push_back(batch_norm_case(features, 1e-5f));
  cases.push_back(batch_norm_vjp_case(features, 1, 1e-5f));
  cases.push_back(batch_norm_parameter_vjp_case(features, 1e-5f));
  cases.push_back(batch_norm_train_case(features, 1e-5f, true));
  for (const bool relu : {false, true}) cases.push_back(batch_norm_train_vjp_case(features, 1e-5f, relu));
  cases.push_back(row_dots_case(images, 1, false));
  cases.push_back(label_ranks_case({1003, 1000}));
  return cases;
}

}  // namespace hp::cases
