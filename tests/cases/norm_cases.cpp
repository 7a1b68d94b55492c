#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

using Vector = std::vector<double>;

std::string size_of(const GroupNorm& g) {
  return fmt::format("{}x{}x{}{}{}", g.batch, g.positions, g.channels,
                     g.groups > 1 ? fmt::format(" groups {}", g.groups) : "", g.centred ? "" : " uncentred");
}

// The group, of all images, that element i belongs to.
int64_t group_of(const GroupNorm& g, int64_t i) {
  return i / (g.positions * g.channels) * g.groups + i % g.channels / (g.channels / g.groups);
}

// [2, batch * groups]: mean and 1 / sqrt(variance + epsilon)
Vector statistics(const GroupNorm& g, const Vector& x) {
  const int64_t groups = g.batch * g.groups;
  const auto size = static_cast<double>(g.group_size());
  Vector s(static_cast<size_t>(2 * groups));
  for (int64_t i = 0; i < g.count(); ++i) s[group_of(g, i)] += x[i] / size;
  for (int64_t i = 0; i < g.count(); ++i) s[groups + group_of(g, i)] += std::pow(x[i] - s[group_of(g, i)], 2) / size;
  for (int64_t i = 0; i < groups; ++i) s[groups + i] = 1 / std::sqrt(s[groups + i] + static_cast<double>(g.epsilon));
  return s;
}

// What the weight multiplies.
Vector normalised(const GroupNorm& g, const Vector& x, const Vector& s) {
  const int64_t groups = g.batch * g.groups;
  Vector h(x.size());
  for (int64_t i = 0; i < g.count(); ++i) {
    const int64_t group = group_of(g, i);
    h[i] = (x[i] - (g.centred ? s[group] : 0.0)) * s[groups + group];
  }
  return h;
}

// parameters [2, channels]: weight and bias, of which `given` are there
Vector group_norm(const GroupNorm& g, int given, const Vector& x, const Vector& parameters) {
  Vector y = normalised(g, x, statistics(g, x));
  for (int64_t i = 0; i < g.count(); ++i) {
    const int64_t c = i % g.channels;
    y[i] = y[i] * (given > 0 ? parameters[c] : 1) + (given > 1 ? parameters[g.channels + c] : 0);
  }
  return y;
}

Array parameters_of(const GroupNorm& g) { return uniform(2 * g.channels, 0.5, 1.5, 92); }

KernelCase group_norm_case(const GroupNorm& g, int given, double offset) {
  const int64_t groups = g.batch * g.groups;
  return {.name = fmt::format("group_norm {} parameters {} offset {}", size_of(g), given, offset),
          .inputs = {uniform(g.count(), offset - 1, offset + 1, 91), parameters_of(g)},
          .outputs = {output(2 * groups), output(g.count())},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.group_norm(g, a.in(0), given > 0 ? a.in(1) : nullptr, given > 1 ? a.in(1) + g.channels : nullptr,
                             a.out(0), a.out(1));
              },
          .reference =
              [=](const Values& in, Values& out) {
                out[0] = statistics(g, in[0]);
                out[1] = group_norm(g, given, in[0], in[1]);
              },
          .tolerance = 2e-6};
}

KernelCase group_norm_vjp_case(const GroupNorm& g, int targets, bool detached, bool weighted) {
  const int64_t n = g.count(), groups = g.batch * g.groups;
  const Array x = uniform(n, -1, 1.5, 93);
  const Vector s = statistics(g, as_doubles(x));
  // A constant standard deviation makes it linear: the derivative is that of the form with the statistics of x as
  // drawn.
  const auto forward = [=](const Values& in, Values& out) {
    if (!detached) {
      out[0] = group_norm(g, weighted ? 1 : 0, in[0], in[2]);
      return;
    }
    Vector own = statistics(g, in[0]);
    std::copy(s.begin() + groups, s.end(), own.begin() + groups);
    out[0] = normalised(g, in[0], own);
    for (int64_t i = 0; i < n && weighted; ++i) out[0][i] *= in[2][i % g.channels];
  };
  return {
      .name = fmt::format("group_norm_vjp {} targets {}{}{}", size_of(g), targets, detached ? " detached" : "",
                          weighted ? "" : " no weight"),
      .inputs = {x, values({s.begin(), s.end()}), parameters_of(g), per_target(uniform(targets * n, -1, 1, 94))},
      .outputs = {per_target(output(targets * n))},
      .call =
          [=](Kernels& k, const Arguments& a) {
            k.group_norm_vjp(g, a.targets, detached, a.in(0), a.in(1), weighted ? a.in(2) : nullptr, a.in(3), a.out(0));
          },
      .reference =
          [=](const Values& in, Values& out) {
            const Vector h = normalised(g, in[0], in[1]);
            const auto size = static_cast<double>(g.group_size());
            for (int target = 0; target < targets; ++target) {
              Vector mean(static_cast<size_t>(groups)), product = mean;
              const auto message = [&](int64_t i) {
                return in[3][target * n + i] * (weighted ? in[2][i % g.channels] : 1.0);
              };
              for (int64_t i = 0; i < n; ++i) {
                mean[group_of(g, i)] += message(i) / size;
                product[group_of(g, i)] += message(i) * h[i] / size;
              }
              for (int64_t i = 0; i < n; ++i) {
                const int64_t group = group_of(g, i);
                const double r = in[1][groups + group], centred = (in[0][i] - in[1][group]) * r;
                out[0][target * n + i] =
                    r * (message(i) - (g.centred ? mean[group] : 0.0) - (detached ? 0.0 : centred * product[group]));
              }
            }
          },
      .tolerance = 2e-6,
      .targets = targets,
      .derivatives = {{.by = 0, .message = 3, .output = 0, .forward = forward}}};
}

KernelCase group_norm_parameter_vjp_case(const GroupNorm& g) {
  const Array x = uniform(g.count(), -1, 1.5, 95);
  const Vector s = statistics(g, as_doubles(x));
  return {.name = fmt::format("group_norm_parameter_vjp {}", size_of(g)),
          .inputs = {x, values({s.begin(), s.end()}), uniform(g.count(), -1, 1, 96), parameters_of(g)},
          .outputs = {output(2 * g.channels)},
          .call = [=](Kernels& k,
                      const Arguments& a) { k.group_norm_parameter_vjp(g, a.in(0), a.in(1), a.in(2), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                const Vector h = normalised(g, in[0], in[1]);
                std::ranges::fill(out[0], 0);
                for (int64_t i = 0; i < g.count(); ++i) {
                  out[0][i % g.channels] += in[2][i] * h[i];
                  out[0][g.channels + i % g.channels] += in[2][i];
                }
              },
          .tolerance = 2e-6,
          .derivatives = {{.by = 3, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                             out[0] = group_norm(g, 2, in[0], in[3]);
                           }}}};
}

}  // namespace

std::vector<KernelCase> norm_cases() {
  std::vector<KernelCase> cases;
  std::vector<GroupNorm> shapes;
  for (const int64_t channels : {3, 16, 17, 192, 768, 1100}) shapes.push_back({.batch = 7, .channels = channels});
  shapes.push_back({.batch = 1003, .channels = 17});
  shapes.push_back({.batch = 2, .positions = 49, .channels = 24});
  shapes.push_back({.batch = 3, .positions = 50, .channels = 12, .groups = 4});
  shapes.push_back({.batch = 1, .positions = 1600, .channels = 6, .groups = 6});
  shapes.push_back({.batch = 2, .channels = 32, .groups = 8});
  for (GroupNorm g : shapes) {
    for (const bool centred : {true, false}) {
      g.centred = centred;
      for (const int given : {0, 1, 2}) cases.push_back(group_norm_case(g, given, 0.25));
      cases.push_back(group_norm_parameter_vjp_case(g));
      for (const bool detached : {false, true}) {
        cases.push_back(group_norm_vjp_case(g, 3, detached, true));
        cases.push_back(group_norm_vjp_case(g, 2, detached, false));
      }
    }
  }
  cases.push_back(
      group_norm_case({.batch = 50, .channels = 768}, 2, 20));  // the variance is a thousandth of the square
  const GroupNorm tokens{.batch = 197, .channels = 768};
  cases.push_back(group_norm_case(tokens, 2, 0.25));
  cases.push_back(group_norm_vjp_case(tokens, 1, false, true));
  cases.push_back(group_norm_parameter_vjp_case(tokens));
  return cases;
}

}  // namespace hp::cases
