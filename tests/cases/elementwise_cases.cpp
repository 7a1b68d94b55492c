#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/cases/cases.h"
#include "tests/cases/functions.h"

namespace hp::cases {

namespace {

KernelCase apply_case(const FunctionRow& row, int64_t n) {
  return {.name = fmt::format("apply {} {}", row.name, n),
          .inputs = {uniform(n, row.low, row.high, 1)},
          .outputs = {output(n)},
          .call = [=](Kernels& k, const Arguments& a) { k.apply(row.function, n, a.in(0), a.out(0)); },
          .reference = [=](const Values& in, Values& out) { std::ranges::transform(in[0], out[0].begin(), row.value); },
          .in_place = 0};
}

// The reference is the derivative by a difference quotient of the definition; check_derivative repeats it elementwise.
KernelCase apply_vjp_case(const FunctionRow& row, int64_t n, int targets) {
  const Array x = uniform(n, row.low, row.high, 2);
  Array y = x;
  for (float& value : y.floats) value = static_cast<float>(row.value(value));
  const auto slope = [=](double v) { return (row.value(v + 1e-6) - row.value(v - 1e-6)) / 2e-6; };
  return {
      .name = fmt::format("apply_vjp {} {} targets {}", row.name, n, targets),
      .inputs = {x, y, per_target(uniform(targets * n, -1, 1, 3))},
      .outputs = {per_target(output(targets * n))},
      .call = [=](Kernels& k,
                  const Arguments& a) { k.apply_vjp(row.function, n, a.targets, a.in(0), a.in(1), a.in(2), a.out(0)); },
      .reference =
          [=](const Values& in, Values& out) {
            for (size_t i = 0; i < out[0].size(); ++i) out[0][i] = in[2][i] * slope(in[0][i % n]);
          },
      .targets = targets,
      .derivatives = {{.by = 0,
                       .message = 2,
                       .output = 0,
                       .forward = [=](const Values& in,
                                      Values& out) { std::ranges::transform(in[0], out[0].begin(), row.value); }}},
      .in_place = 2};
}

// f(x) / x, with the slope in place of 0 / 0: a tenth of the arguments are 0.
KernelCase apply_ratio_case(const FunctionRow& row, int64_t n, int targets) {
  Array x = uniform(n, row.low, row.high, 13);
  for (size_t i = 0; i < x.floats.size(); i += 10) x.floats[i] = 0;
  return {.name = fmt::format("apply_ratio {} {} targets {}", row.name, n, targets),
          .inputs = {x, per_target(uniform(targets * n, -1, 1, 14))},
          .outputs = {per_target(output(targets * n))},
          .call = [=](Kernels& k,
                      const Arguments& a) { k.apply_ratio(row.function, n, a.targets, a.in(0), a.in(1), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                const bool bends = row.function == Function::relu || row.function == Function::absolute;
                for (size_t i = 0; i < out[0].size(); ++i) {
                  const double v = in[0][i % n];
                  const double at_zero = bends ? 0.0 : (row.value(1e-6) - row.value(-1e-6)) / 2e-6;
                  out[0][i] = in[1][i] * (v == 0 ? at_zero : row.value(v) / v);
                }
              },
          .targets = targets,
          .in_place = 1};
}

// At 0 (and -0) the derivative of relu and absolute is 0; y may stand in for x in relu.
KernelCase relu_vjp_from_output_case(int64_t n) {
  return {.name = fmt::format("apply_vjp relu from its output {}", n),
          .inputs = {relu_like(n, 4), per_target(uniform(3 * n, -1, 1, 5))},
          .outputs = {per_target(output(3 * n))},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.apply_vjp(Function::relu, n, a.targets, a.in(0), a.in(0), a.in(1), a.out(0));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (size_t i = 0; i < out[0].size(); ++i) out[0][i] = in[0][i % n] > 0 ? in[1][i] : 0;
              },
          .tolerance = 0,
          .targets = 3};
}

KernelCase guided_relu_case(int64_t n, int targets) {
  return {.name = fmt::format("guided_relu_vjp {} targets {}", n, targets),
          .inputs = {relu_like(n, 4), per_target(uniform(targets * n, -1, 1, 5))},
          .outputs = {per_target(output(targets * n))},
          .call = [=](Kernels& k, const Arguments& a) { k.guided_relu_vjp(n, a.targets, a.in(0), a.in(1), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (size_t i = 0; i < out[0].size(); ++i) out[0][i] = in[0][i % n] > 0 ? std::max(in[1][i], 0.0) : 0;
              },
          .tolerance = 0,
          .targets = targets,
          .in_place = 1};
}

KernelCase combine_case(Binary binary, const char* name, int64_t n, int64_t period) {
  return {.name = fmt::format("combine {} {} period {}", name, n, period),
          .inputs = {uniform(n, -2, 2, 6), uniform(period, 0.5, 2, 7)},
          .outputs = {output(n)},
          .call = [=](Kernels& k, const Arguments& a) { k.combine(binary, n, period, a.in(0), a.in(1), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  const double a = in[0][i], b = in[1][i % period];
                  out[0][i] = binary == Binary::add        ? a + b
                              : binary == Binary::subtract ? a - b
                              : binary == Binary::multiply ? a * b
                                                           : a / b;
                }
              },
          .in_place = 0};
}

// With beta = 0 the old y is NaN here and must not show.
KernelCase scale_add_case(int64_t n, float alpha, float beta) {
  return {.name = fmt::format("scale_add {} alpha {} beta {}", n, alpha, beta),
          .inputs = {uniform(n, -1, 1, 8)},
          .outputs = {beta == 0 ? output(n) : output_starting_as(uniform(n, -1, 1, 9))},
          .call = [=](Kernels& k, const Arguments& a) { k.scale_add(n, alpha, a.in(0), beta, a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  out[0][i] = static_cast<double>(alpha) * in[0][i] + (beta == 0 ? 0 : beta * out[0][i]);
                }
              }};
}

KernelCase add_relu_case(int64_t n) {
  return {.name = fmt::format("add_relu {}", n),
          .inputs = {uniform(n, -1, 1, 10), uniform(n, -1, 1, 11)},
          .outputs = {output(n)},
          .call = [=](Kernels& k, const Arguments& a) { k.add_relu(n, a.in(0), a.in(1), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) out[0][i] = std::max(in[0][i] + in[1][i], 0.0);
              },
          .in_place = 1};
}

KernelCase blend_signs_case(int64_t n, float positive, float negative) {
  return {.name = fmt::format("blend_signs {} by {} and {}", n, positive, negative),
          .inputs = {uniform(n, -1, 1, 12)},
          .outputs = {output(n)},
          .call = [=](Kernels& k, const Arguments& a) { k.blend_signs(n, positive, negative, a.in(0), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  out[0][i] = positive * std::max(in[0][i], 0.0) + negative * std::min(in[0][i], 0.0);
                }
              },
          .in_place = 0};
}

}  // namespace

std::vector<KernelCase> elementwise_cases() {
  constexpr int64_t large = 802816;  // the widest feature map of ResNet-50 for one 224 image, [56, 56, 256]
  std::vector<KernelCase> cases;
  for (const FunctionRow& row : all_functions()) {
    for (const int64_t n : {int64_t{1}, int64_t{7}, int64_t{64}, int64_t{1003}, large}) {
      cases.push_back(apply_case(row, n));
    }
    for (const int64_t n : {1, 7, 1003, 20000}) cases.push_back(apply_vjp_case(row, n, 3));
    cases.push_back(apply_vjp_case(row, 64, 1));
  }
  for (const Function function : {Function::relu, Function::absolute, Function::tanh, Function::square, Function::gelu,
                                  Function::gelu_tanh, Function::quick_gelu, Function::silu}) {
    for (const int64_t n : {1, 7, 1003, 20000}) cases.push_back(apply_ratio_case(definition_of(function), n, 3));
  }
  for (const int64_t n : {1, 7, 64, 1003, 20000}) {
    cases.push_back(relu_vjp_from_output_case(n));
    cases.push_back(guided_relu_case(n, 3));
    cases.push_back(add_relu_case(n));
    cases.push_back(scale_add_case(n, 0.75f, 0));
    cases.push_back(scale_add_case(n, 1, 1));
    cases.push_back(scale_add_case(n, -0.5f, 0.25f));
    cases.push_back(blend_signs_case(n, 1, 0));
    cases.push_back(blend_signs_case(n, 1.25f, 1));
    cases.push_back(blend_signs_case(n, 1, -1));
  }
  struct Period {
    int64_t n, period;
  };
  for (const auto& [n, period] : {Period{1, 1},
                                  {7, 7},
                                  {21, 7},
                                  {1003, 1},
                                  {3009, 3},
                                  {64 * 17, 17},
                                  {64 * 1000, 1000},
                                  {3 * 33333, 33333},
                                  {large, 64}}) {
    cases.push_back(combine_case(Binary::add, "add", n, period));
    cases.push_back(combine_case(Binary::subtract, "subtract", n, period));
    cases.push_back(combine_case(Binary::multiply, "multiply", n, period));
    cases.push_back(combine_case(Binary::divide, "divide", n, period));
  }
  cases.push_back(guided_relu_case(large, 1));
  cases.push_back(scale_add_case(large, 1, 1));
  cases.push_back(add_relu_case(large));
  cases.push_back(blend_signs_case(large, 1, 0));
  return cases;
}

}  // namespace hp::cases
