// Cases of the convolution group: forward with every epilogue, both gradients, and matrix products.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tests/cases/cases.h"
#include "tests/cases/functions.h"

namespace hp::cases {

namespace {

// Calls term(y index, x index, w index) for every product of the convolution.
template <class Term>
void for_products(const Conv2d& c, Term term) {
  const int64_t group_filters = c.filters / c.groups, group_channels = c.channels / c.groups;
  int64_t y = 0;
  for (int64_t image = 0; image < c.batch; ++image) {
    for (int64_t out_y = 0; out_y < c.out_height(); ++out_y) {
      for (int64_t out_x = 0; out_x < c.out_width(); ++out_x) {
        for (int64_t filter = 0; filter < c.filters; ++filter, ++y) {
          const int64_t first_channel = filter / group_filters * group_channels;
          for (int64_t ky = 0; ky < c.kernel_height; ++ky) {
            const int64_t in_y = out_y * c.stride - c.padding + ky * c.dilation;
            if (in_y < 0 || in_y >= c.height) continue;
            for (int64_t kx = 0; kx < c.kernel_width; ++kx) {
              const int64_t in_x = out_x * c.stride - c.padding + kx * c.dilation;
              if (in_x < 0 || in_x >= c.width) continue;
              for (int64_t channel = 0; channel < group_channels; ++channel) {
                const int64_t x = ((image * c.height + in_y) * c.width + in_x) * c.channels + first_channel + channel;
                term(y, x, ((filter * group_channels + channel) * c.kernel_height + ky) * c.kernel_width + kx);
              }
            }
          }
        }
      }
    }
  }
}

int64_t x_count(const Conv2d& c) { return c.batch * c.height * c.width * c.channels; }
int64_t y_count(const Conv2d& c) { return c.batch * c.out_height() * c.out_width() * c.filters; }

double flops(const Conv2d& c) {
  return 2.0 * static_cast<double>(y_count(c) * (c.channels / c.groups) * c.kernel_height * c.kernel_width);
}

std::string describe(const Conv2d& c) {
  std::string text = fmt::format("{}x{}x{}x{} to {}, {}x{}", c.batch, c.height, c.width, c.channels, c.filters,
                                 c.kernel_height, c.kernel_width);
  if (c.stride != 1) text += fmt::format(" stride {}", c.stride);
  if (c.padding != 0) text += fmt::format(" padding {}", c.padding);
  if (c.dilation != 1) text += fmt::format(" dilation {}", c.dilation);
  if (c.groups != 1) text += fmt::format(" groups {}", c.groups);
  if (c.fast) text += ", fast";
  if (c.smooth) text += ", smooth";
  return text;
}

// A convolution of n products has a rounding error of about sqrt(n) units of 6e-8 of a result about sqrt(n) large.
constexpr double conv_tolerance = 2e-6;

// Winograd's transforms add a bit to the error.
double forward_tolerance(const Conv2d& c) { return c.smooth ? 2 * conv_tolerance : conv_tolerance; }
double gradient_tolerance(const Conv2d& c) { return c.fast || c.smooth ? 2 * conv_tolerance : conv_tolerance; }

struct EpilogueFlags {
  bool bias = false, addend = false;
  std::optional<Function> activation = {};
};

KernelCase forward_case(const Conv2d& c, EpilogueFlags flags) {
  KernelCase result;
  result.name = "conv2d " + describe(c) + (flags.bias ? " + bias" : "") + (flags.addend ? " + addend" : "") +
                (flags.activation ? " + " + std::string(definition_of(*flags.activation).name) : "");
  result.inputs = {uniform(x_count(c), -1, 1, 1), uniform(c.weight_count(), -1, 1, 2), uniform(c.filters, -1, 1, 3),
                   uniform(y_count(c), -1, 1, 4)};
  result.outputs = {output(y_count(c))};
  result.call = [c, flags](Kernels& kernels, const Arguments& a) {
    const auto packed = kernels.pack(c, PackUse::forward, a.in(1));
    const Epilogue epilogue{.bias = flags.bias ? a.in(2) : nullptr,
                            .addend = flags.addend ? a.in(3) : nullptr,
                            .activation = flags.activation};
    kernels.conv2d(c, *packed, epilogue, a.in(0), a.out(0));
  };
  result.reference = [c, flags](const Values& in, Values& out) {
    std::fill(out[0].begin(), out[0].end(), 0.0);
    for_products(c, [&](int64_t y, int64_t x, int64_t w) { out[0][y] += in[0][x] * in[1][w]; });
    for (size_t i = 0; i < out[0].size(); ++i) {
      if (flags.bias) out[0][i] += in[2][i % c.filters];
      if (flags.addend) out[0][i] += in[3][i];
      if (flags.activation) out[0][i] = definition_of(*flags.activation).value(out[0][i]);
    }
  };
  result.tolerance = forward_tolerance(c);
  result.flops = flops(c);
  return result;
}

// y = conv(x, w) of the inputs that the gradient cases list as 0: x, 1: w.
Derivative conv_derivative(const Conv2d& c, size_t by) {
  return {.by = by, .message = 2, .output = 0, .forward = [c](const Values& in, Values& out) {
            std::fill(out[0].begin(), out[0].end(), 0.0);
            for_products(c, [&](int64_t y, int64_t x, int64_t w) { out[0][y] += in[0][x] * in[1][w]; });
          }};
}

// Targets go into the batch: three of them here where `targets` is 3.
KernelCase input_gradient_case(const Conv2d& c, int targets = 1) {
  KernelCase result;
  result.name = fmt::format("conv2d_input_gradient {}{}", describe(c), targets > 1 ? " targets 3" : "");
  result.inputs = {uniform(x_count(c), -1, 1, 1), uniform(c.weight_count(), -1, 1, 2),
                   per_target(uniform(targets * y_count(c), -1, 1, 5))};
  result.outputs = {per_target(output(targets * x_count(c)))};
  result.call = [c](Kernels& kernels, const Arguments& a) {
    Conv2d all = c;
    all.batch = a.targets * c.batch;
    const auto packed = kernels.pack(all, PackUse::input_gradient, a.in(1));
    kernels.conv2d_input_gradient(all, *packed, a.in(2), a.out(0));
  };
  result.reference = [c, targets](const Values& in, Values& out) {
    Conv2d all = c;
    all.batch = targets * c.batch;
    std::fill(out[0].begin(), out[0].end(), 0.0);
    for_products(all, [&](int64_t y, int64_t x, int64_t w) { out[0][x] += in[2][y] * in[1][w]; });
  };
  result.tolerance = gradient_tolerance(c);
  result.targets = targets;
  result.derivatives = {conv_derivative(c, 0)};
  result.flops = targets * flops(c);
  return result;
}

KernelCase weight_gradient_case(const Conv2d& c) {
  KernelCase result;
  result.name = "conv2d_weight_gradient " + describe(c);
  result.inputs = {uniform(x_count(c), -1, 1, 1), uniform(c.weight_count(), -1, 1, 2), uniform(y_count(c), -1, 1, 5)};
  result.outputs = {output(c.weight_count())};
  result.call = [c](Kernels& kernels, const Arguments& a) {
    kernels.conv2d_weight_gradient(c, a.in(0), a.in(2), a.out(0));
  };
  result.reference = [c](const Values& in, Values& out) {
    std::fill(out[0].begin(), out[0].end(), 0.0);
    for_products(c, [&](int64_t y, int64_t x, int64_t w) { out[0][w] += in[2][y] * in[0][x]; });
  };
  result.tolerance = gradient_tolerance(c);
  result.derivatives = {conv_derivative(c, 1)};
  result.flops = flops(c);
  return result;
}

Conv2d square(int64_t batch, int64_t size, int64_t channels, int64_t filters, int64_t kernel, int64_t stride,
              int64_t padding, int64_t dilation = 1, int64_t groups = 1) {
  return {.batch = batch,
          .height = size,
          .width = size,
          .channels = channels,
          .filters = filters,
          .kernel_height = kernel,
          .kernel_width = kernel,
          .stride = stride,
          .padding = padding,
          .dilation = dilation,
          .groups = groups};
}

std::vector<Conv2d> geometries() {
  std::vector<Conv2d> result;
  for (const int64_t channels : {1, 3, 16, 17, 64}) {
    for (const int64_t kernel : {1, 3}) {
      for (const int64_t stride : {1, 2}) {
        result.push_back(square(channels == 17 ? 3 : 1, stride == 2 ? 9 : 7, channels, channels == 3 ? 64 : 17, kernel,
                                stride, kernel / 2));
      }
    }
  }
  result.push_back(square(3, 8, 64, 64, 3, 2, 1));
  result.push_back(square(2, 14, 64, 128, 1, 2, 0));
  result.push_back(square(2, 7, 128, 64, 1, 1, 0));
  result.push_back(square(1, 5, 16, 32, 3, 1, 0));        // no padding
  result.push_back(square(1, 6, 16, 16, 3, 1, 3));        // more padding than the kernel needs
  result.push_back(square(1, 11, 16, 24, 3, 1, 2, 2));    // dilation
  result.push_back(square(2, 11, 17, 5, 3, 2, 2, 2));     // dilation and stride
  result.push_back(square(1, 9, 32, 32, 3, 1, 1, 1, 2));  // groups
  result.push_back(square(3, 9, 20, 12, 3, 2, 1, 1, 4));
  result.push_back(square(1, 9, 64, 64, 3, 1, 1, 1, 4));
  result.push_back(square(1, 9, 16, 16, 3, 1, 1, 1, 16));  // depthwise
  result.push_back(square(2, 9, 17, 17, 3, 2, 1, 1, 17));
  result.push_back(square(4, 1, 64, 10, 1, 1, 0));  // a linear layer
  result.push_back(square(1, 1, 2048, 1000, 1, 1, 0));
  result.push_back(square(33, 1, 48, 17, 1, 1, 0));
  result.push_back({.height = 65, .channels = 24, .filters = 40});  // a linear layer on rows
  result.push_back({.batch = 2,
                    .height = 12,
                    .width = 7,
                    .channels = 8,
                    .filters = 9,
                    .kernel_height = 1,
                    .kernel_width = 3,
                    .stride = 1,
                    .padding = 1});  // neither square map nor square kernel
  return result;
}

// The first layers of image networks, where channels are few: these may take a path of their own.
std::vector<Conv2d> stems() {
  std::vector<Conv2d> result;
  result.push_back(square(1, 32, 3, 64, 7, 2, 3));
  result.push_back(square(2, 45, 3, 64, 7, 2, 3));
  result.push_back(square(1, 33, 1, 16, 7, 2, 3));
  result.push_back(square(1, 20, 4, 17, 5, 1, 2));
  result.push_back(square(3, 17, 3, 8, 7, 1, 0));
  result.push_back(square(1, 32, 3, 24, 16, 16, 0));  // patches
  result.push_back(square(1, 23, 3, 16, 7, 3, 3));
  result.push_back(square(1, 32, 6, 64, 7, 2, 3));
  result.push_back(square(1, 25, 2, 4, 5, 2, 4, 2));     // dilation
  result.push_back(square(1, 20, 4, 8, 5, 2, 2, 1, 2));  // groups
  result.push_back({.batch = 2,
                    .height = 19,
                    .width = 50,
                    .channels = 3,
                    .filters = 32,
                    .kernel_height = 7,
                    .kernel_width = 5,
                    .stride = 2,
                    .padding = 3});
  return result;
}

// Where products may be saved: whole tiles and cut ones, narrow and wide blocks of filters, several strips, and shapes
// that have to do without.
std::vector<Conv2d> fast_geometries() {
  std::vector<Conv2d> result{square(1, 8, 16, 16, 3, 1, 1),
                             square(5, 6, 32, 48, 3, 1, 1),
                             square(3, 7, 48, 32, 3, 1, 1),
                             square(5, 32, 16, 16, 3, 1, 1),
                             square(2, 9, 64, 96, 3, 1, 1),
                             square(13, 4, 128, 64, 3, 1, 1),
                             square(17, 8, 64, 64, 3, 1, 1),
                             square(2, 5, 16, 16, 3, 1, 1),
                             square(2, 8, 16, 24, 3, 1, 1),
                             square(2, 16, 32, 32, 3, 2, 1),
                             {.batch = 2,
                              .height = 6,
                              .width = 10,
                              .channels = 32,
                              .filters = 16,
                              .kernel_height = 3,
                              .kernel_width = 3,
                              .padding = 1}};
  // Linear layers: few and many filters and rows, cut panels, and more of everything than is added up at once.
  for (const auto [batch, channels, filters] : {std::array<int64_t, 3>{32, 64, 20},
                                                {37, 48, 7},
                                                {600, 80, 33},
                                                {45, 16, 300},
                                                {33, 528, 160},
                                                {64, 17, 40},
                                                {5, 650, 530},
                                                {1, 20, 3}}) {
    result.push_back(square(batch, 1, channels, filters, 1, 1, 0));
  }
  for (Conv2d& c : result) c.fast = true;
  return result;
}

// Where the forward pass may save products too: whole tiles and cut ones, more tiles than weights and fewer (even and
// cut blocks of them), several images, and too few tiles.
std::vector<Conv2d> smooth_geometries() {
  std::vector<Conv2d> result{square(1, 16, 16, 32, 3, 1, 1), square(3, 18, 48, 16, 3, 1, 1),
                             square(1, 16, 48, 48, 3, 1, 1), square(1, 17, 64, 80, 3, 1, 1),
                             square(2, 12, 16, 16, 3, 1, 1), square(1, 16, 20, 16, 3, 1, 1),
                             square(2, 14, 32, 16, 3, 1, 1)};
  result.back().width = 19;
  for (Conv2d& c : result) c.smooth = true;
  return result;
}

KernelCase matmul_case(const Matmul& m) {
  const auto a_index = [m](int64_t b, int64_t i, int64_t j) {
    return b * m.m * m.k + (m.transpose_a ? j * m.m + i : i * m.k + j);
  };
  const auto b_index = [m](int64_t b, int64_t j, int64_t i) {
    return b * m.k * m.n + (m.transpose_b ? i * m.k + j : j * m.n + i);
  };
  KernelCase result;
  result.name = fmt::format("matmul {} of {}x{}{} * {}x{}{}", m.batch, m.m, m.k, m.transpose_a ? "^T" : "", m.k, m.n,
                            m.transpose_b ? "^T" : "");
  result.inputs = {uniform(m.batch * m.m * m.k, -1, 1, 1), uniform(m.batch * m.k * m.n, -1, 1, 2)};
  result.outputs = {output(m.batch * m.m * m.n)};
  result.call = [m](Kernels& kernels, const Arguments& a) { kernels.matmul(m, a.in(0), a.in(1), a.out(0)); };
  result.reference = [m, a_index, b_index](const Values& in, Values& out) {
    std::fill(out[0].begin(), out[0].end(), 0.0);
    for (int64_t b = 0; b < m.batch; ++b) {
      for (int64_t row = 0; row < m.m; ++row) {
        for (int64_t column = 0; column < m.n; ++column) {
          double& sum = out[0][(b * m.m + row) * m.n + column];
          for (int64_t j = 0; j < m.k; ++j) sum += in[0][a_index(b, row, j)] * in[1][b_index(b, j, column)];
        }
      }
    }
  };
  result.tolerance = conv_tolerance;
  result.flops = 2.0 * static_cast<double>(m.batch * m.m * m.n * m.k);
  return result;
}

}  // namespace

std::vector<KernelCase> conv_cases() {
  std::vector<KernelCase> cases;
  for (const Conv2d& c : geometries()) {
    cases.push_back(forward_case(c, {}));
    cases.push_back(forward_case(c, {.bias = true, .addend = true, .activation = Function::relu}));
    cases.push_back(input_gradient_case(c));
    cases.push_back(weight_gradient_case(c));
  }
  for (const Conv2d& c : stems()) {
    cases.push_back(forward_case(c, {.bias = true, .activation = Function::relu}));
    cases.push_back(input_gradient_case(c));
    cases.push_back(weight_gradient_case(c));
  }
  for (const Conv2d& c : fast_geometries()) {
    cases.push_back(forward_case(c, {}));
    cases.push_back(forward_case(c, {.bias = true, .addend = true, .activation = Function::relu}));
    cases.push_back(input_gradient_case(c));
    cases.push_back(weight_gradient_case(c));
  }
  for (const Conv2d& c : smooth_geometries()) {
    cases.push_back(forward_case(c, {}));
    cases.push_back(forward_case(c, {.bias = true}));
    cases.push_back(forward_case(c, {.bias = true, .addend = true, .activation = Function::gelu}));
    cases.push_back(input_gradient_case(c));
    cases.push_back(weight_gradient_case(c));
  }
  cases.push_back(input_gradient_case(smooth_geometries()[2], 3));
  for (int flags = 1; flags < 7; ++flags) {
    EpilogueFlags epilogue{.bias = (flags & 1) != 0, .addend = (flags & 2) != 0};
    if ((flags & 4) != 0) epilogue.activation = Function::relu;
    cases.push_back(forward_case(square(2, 6, 32, 48, 3, 1, 1), epilogue));
    cases.push_back(forward_case(square(1, 7, 16, 17, 1, 2, 0), epilogue));
  }
  for (const Function function : {Function::gelu, Function::gelu_tanh, Function::quick_gelu, Function::silu}) {
    const EpilogueFlags epilogue{.bias = true, .activation = function};
    cases.push_back(forward_case(square(2, 6, 32, 48, 3, 1, 1), epilogue));
    cases.push_back(forward_case({.height = 197, .channels = 64, .filters = 40}, epilogue));  // a linear layer's rows
    cases.push_back(forward_case({.height = 7, .channels = 64, .filters = 40}, epilogue));
  }
  cases.push_back(input_gradient_case(square(2, 9, 16, 32, 3, 2, 1), 3));
  cases.push_back(input_gradient_case(square(2, 24, 3, 16, 7, 2, 3), 3));
  return cases;
}

std::vector<KernelCase> matmul_cases() {
  std::vector<KernelCase> cases;
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      cases.push_back(
          matmul_case({.batch = 1, .m = 13, .n = 17, .k = 33, .transpose_a = transpose_a, .transpose_b = transpose_b}));
      cases.push_back(
          matmul_case({.batch = 6, .m = 50, .n = 64, .k = 16, .transpose_a = transpose_a, .transpose_b = transpose_b}));
      cases.push_back(
          matmul_case({.batch = 1, .m = 1, .n = 40, .k = 70, .transpose_a = transpose_a, .transpose_b = transpose_b}));
    }
  }
  cases.push_back(matmul_case({.batch = 3, .m = 5, .n = 1, .k = 9}));
  cases.push_back(matmul_case({.batch = 1, .m = 64, .n = 100, .k = 512, .transpose_b = true}));
  return cases;
}

}  // namespace hp::cases
