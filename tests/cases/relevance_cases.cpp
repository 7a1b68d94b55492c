#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

// sgn(0) = sgn(-0) = +1
double stabilised(double d, float epsilon) { return d + (d < 0 ? -1 : 1) * static_cast<double>(epsilon); }

// Any sign, with exact zeros of both signs among them.
Array with_zeros(int64_t count, uint32_t seed) {
  Array array = uniform(count, -1, 1, seed);
  for (size_t i = 0; i < array.floats.size(); i += 5) array.floats[i] = i % 2 ? 0.0f : -0.0f;
  return array;
}

// At least the part of z that it is a bound of, as conv(x, w+) is for z = conv(x, w), x >= 0.
Array bound_of(const Array& z, bool of_absolute, uint32_t seed) {
  Array bound = uniform(static_cast<int64_t>(z.count()), 0, 1, seed);
  for (size_t i = 0; i < bound.count(); ++i) {
    bound.floats[i] += of_absolute ? std::abs(z.floats[i]) : std::max(z.floats[i], 0.0f);
  }
  return bound;
}

KernelCase stabilised_ratio_case(int64_t n, int64_t period, float epsilon, bool with_numerator) {
  return {.name = fmt::format("stabilised_ratio {} period {} epsilon {}{}", n, period, epsilon,
                              with_numerator ? "" : " of 1"),
          .inputs = {uniform(n, -1, 1, 1), with_zeros(period, 2)},
          .outputs = {output(n)},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.stabilised_ratio(n, period, epsilon, with_numerator ? a.in(0) : nullptr, a.in(1), a.out(0));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  const double d = stabilised(in[1][i % period], epsilon);
                  out[0][i] = d == 0 ? 0 : (with_numerator ? in[0][i] : 1) / d;
                }
              }};
}

KernelCase scale_by_ratio_case(int64_t n, int targets, float epsilon, bool with_numerator) {
  return {
      .name =
          fmt::format("scale_by_ratio {} targets {} epsilon {}{}", n, targets, epsilon, with_numerator ? "" : " of 1"),
      .inputs = {per_target(uniform(targets * n, -1, 1, 17)), uniform(n, -1, 1, 18), with_zeros(n, 19)},
      .outputs = {per_target(output(targets * n))},
      .call =
          [=](Kernels& k, const Arguments& a) {
            k.scale_by_ratio(a.targets * n, n, epsilon, a.in(0), with_numerator ? a.in(1) : nullptr, a.in(2), a.out(0));
          },
      .reference =
          [=](const Values& in, Values& out) {
            for (size_t i = 0; i < out[0].size(); ++i) {
              const double d = stabilised(in[2][i % n], epsilon);
              out[0][i] = d == 0 ? 0 : in[0][i] * (with_numerator ? in[1][i % n] : 1) / d;
            }
          },
      .targets = targets};
}

// The rule as attribution.md B.2 words it, from which runtime/kernels.h derives ratio and messages: for x >= 0 and a
// message m, m s [x w + gamma (x w)^(sgn z)] = x (y w + y_positive w+), as w- = w - w+.
KernelCase gamma_ratio_case(int64_t n, float epsilon, float gamma, bool with_numerator) {
  const Array z = with_zeros(n, 3);
  return {.name = fmt::format("gamma_ratio {} gamma {}{}", n, gamma, with_numerator ? "" : " of 1"),
          .inputs = {uniform(n, -1, 1, 4), z, bound_of(z, false, 5)},
          .outputs = {output(n)},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.gamma_ratio(n, epsilon, gamma, with_numerator ? a.in(0) : nullptr, a.in(1), a.in(2), a.out(0));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  const double z = in[1][i], positive = in[2][i], negative = z - positive;
                  const double d = z + gamma * (z > 0 ? positive : negative);
                  out[0][i] = z == 0 ? 0 : (with_numerator ? in[0][i] : 1) / stabilised(d, epsilon);
                }
              }};
}

KernelCase gamma_messages_case(int64_t n, int targets, float gamma) {
  return {.name = fmt::format("gamma_messages {} targets {} gamma {}", n, targets, gamma),
          .inputs = {per_target(uniform(targets * n, -1, 1, 20)), with_zeros(n, 21), uniform(n, -1, 1, 22)},
          .outputs = {per_target(output(targets * n)), per_target(output(targets * n))},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.gamma_messages(a.targets * n, n, gamma, a.in(0), a.in(1), a.in(2), a.out(0), a.out(1));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (size_t i = 0; i < out[0].size(); ++i) {
                  const double z = in[1][i % n], s = in[0][i] * in[2][i % n];
                  out[0][i] = z > 0 ? s : s * (1.0 + gamma);
                  out[1][i] = z > 0 ? s * gamma : -s * gamma;
                }
              },
          .targets = targets};
}

// For any sign: (x w)^+- = (x w +- |x| |w|) / 2.
KernelCase gamma_ratios_any_case(int64_t n, float epsilon, float gamma, bool with_numerator) {
  const Array z = with_zeros(n, 6);
  return {.name = fmt::format("gamma_ratios_any {} gamma {}{}", n, gamma, with_numerator ? "" : " of 1"),
          .inputs = {uniform(n, -1, 1, 7), z, bound_of(z, true, 8)},
          .outputs = {output(n), output(n)},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.gamma_ratios_any(n, epsilon, gamma, with_numerator ? a.in(0) : nullptr, a.in(1), a.in(2), a.out(0),
                                   a.out(1));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  const double z = in[1][i], a = in[2][i], sign = z > 0 ? 1 : -1;
                  const double d = z + gamma * (z + sign * a) / 2;
                  const double s = z == 0 ? 0 : (with_numerator ? in[0][i] : 1) / stabilised(d, epsilon);
                  out[0][i] = s * (1 + gamma / 2.0);
                  out[1][i] = s * sign * gamma / 2.0;
                }
              }};
}

KernelCase add_gated_case(Gate gate, const char* name, int64_t n, int targets, float beta) {
  return {.name = fmt::format("add_gated {} {} targets {} beta {}", name, n, targets, beta),
          .inputs = {with_zeros(n, 9), per_target(uniform(targets * n, -1, 1, 10))},
          .outputs = {per_target(beta == 0 ? output(targets * n) : uniform(targets * n, -1, 1, 11))},
          .call = [=](Kernels& k,
                      const Arguments& a) { k.add_gated(gate, n, a.targets, a.in(0), a.in(1), beta, a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (size_t i = 0; i < out[0].size(); ++i) {
                  const double x = in[0][i % n], sign = x > 0 ? 1 : x < 0 ? -1 : 0;
                  const double factor = gate == Gate::all        ? 1
                                        : gate == Gate::positive ? sign > 0
                                        : gate == Gate::negative ? sign < 0
                                                                 : sign;
                  out[0][i] = (beta == 0 ? 0 : beta * out[0][i]) + factor * in[1][i];
                }
              },
          .targets = targets};
}

KernelCase box_relevance_case(Rows shape, int targets) {
  const int64_t n = shape.count(), columns = shape.columns;
  return {.name = fmt::format("box_relevance {}x{} targets {}", shape.rows, columns, targets),
          .inputs = {uniform(columns, -3, -2, 12), uniform(columns, 2, 3, 13), uniform(n, -2, 2, 14),
                     per_target(uniform(targets * n, -1, 1, 15)), per_target(uniform(targets * n, -1, 1, 16))},
          .outputs = {per_target(output(targets * n))},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.box_relevance(shape, a.targets, a.in(0), a.in(1), a.in(2), a.in(3), a.in(4), a.out(0));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (size_t i = 0; i < out[0].size(); ++i) {
                  const double low = in[0][i % columns], high = in[1][i % columns];
                  out[0][i] = (in[2][i % n] - high) * in[3][i] + (high - low) * in[4][i];
                }
              },
          .targets = targets};
}

}  // namespace

std::vector<KernelCase> relevance_cases() {
  constexpr int64_t large = 802816;
  std::vector<KernelCase> cases;
  for (const int64_t n : {int64_t{1}, int64_t{7}, int64_t{64}, int64_t{1003}, int64_t{20000}, large}) {
    for (const bool with_numerator : {true, false}) {
      cases.push_back(gamma_ratio_case(n, 1e-6f, 0.25f, with_numerator));
      cases.push_back(scale_by_ratio_case(n, n == large ? 1 : 3, 1e-6f, with_numerator));
      cases.push_back(gamma_ratios_any_case(n, 1e-6f, 0.25f, with_numerator));
      cases.push_back(stabilised_ratio_case(n, n, 1e-6f, with_numerator));
    }
    cases.push_back(gamma_ratio_case(n, 0.1f, 0, true));
    cases.push_back(gamma_messages_case(n, n == large ? 1 : 3, 0.25f));
    cases.push_back(gamma_ratios_any_case(n, 0.1f, 2, true));
  }
  cases.push_back(stabilised_ratio_case(64 * 17, 17, 0.1f, true));
  cases.push_back(stabilised_ratio_case(3 * 1003, 1003, 1e-6f, true));
  cases.push_back(stabilised_ratio_case(1001, 1, 0.1f, true));
  cases.push_back(stabilised_ratio_case(1003, 1003, 0, true));
  cases.push_back(scale_by_ratio_case(1003, 2, 0, true));
  cases.push_back(gamma_messages_case(1003, 2, 0));
  cases.push_back(stabilised_ratio_case(3 * 64, 64, 0, false));
  for (const int64_t n : {1, 7, 64, 1003, 20000}) {
    for (const float beta : {0.0f, 1.0f, -0.5f}) {
      cases.push_back(add_gated_case(Gate::all, "all", n, 3, beta));
      cases.push_back(add_gated_case(Gate::positive, "positive", n, 3, beta));
      cases.push_back(add_gated_case(Gate::negative, "negative", n, 3, beta));
      cases.push_back(add_gated_case(Gate::sign, "sign", n, 3, beta));
    }
  }
  cases.push_back(add_gated_case(Gate::positive, "positive", large, 1, 1));
  for (const Rows shape : {Rows{1, 1}, Rows{1, 3}, Rows{7, 3}, Rows{1003, 3}, Rows{64, 17}, Rows{9, 2000}}) {
    cases.push_back(box_relevance_case(shape, 3));
  }
  cases.push_back(box_relevance_case({224 * 224, 3}, 2));
  return cases;
}

}  // namespace hp::cases
