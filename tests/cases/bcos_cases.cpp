#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

using Vector = std::vector<double>;

std::string size_of(Rows shape, int targets = 1) {
  return fmt::format("{}x{}{}", shape.rows, shape.columns, targets > 1 ? fmt::format(" targets {}", targets) : "");
}

Vector unit_rows(Rows shape, const Vector& x) {
  Vector y(x.size());
  for (int64_t row = 0; row < shape.rows; ++row) {
    const auto begin = x.begin() + row * shape.columns, end = begin + shape.columns;
    const double norm = std::sqrt(std::inner_product(begin, end, begin, 0.0));
    std::transform(begin, end, y.begin() + row * shape.columns, [=](double v) { return v / norm; });
  }
  return y;
}

KernelCase unit_rows_case(Rows shape) {
  return {.name = fmt::format("unit_rows {}", size_of(shape)),
          .inputs = {uniform(shape.count(), -1, 1, 61)},
          .outputs = {output(shape.count())},
          .call = [=](Kernels& k, const Arguments& a) { k.unit_rows(shape, a.in(0), a.out(0)); },
          .reference = [=](const Values& in, Values& out) { out[0] = unit_rows(shape, in[0]); }};
}

KernelCase unit_rows_vjp_case(Rows shape, int targets) {
  const int64_t n = shape.count();
  return {
      .name = fmt::format("unit_rows_vjp {}", size_of(shape, targets)),
      .inputs = {uniform(n, 0.2, 1, 62), per_target(uniform(targets * n, -1, 1, 63))},
      .outputs = {per_target(output(targets * n))},
      .call = [=](Kernels& k, const Arguments& a) { k.unit_rows_vjp(shape, a.targets, a.in(0), a.in(1), a.out(0)); },
      .reference =
          [=](const Values& in, Values& out) {
            const Vector y = unit_rows(shape, in[0]);
            for (int64_t row = 0; row < targets * shape.rows; ++row) {
              const int64_t first = row % shape.rows * shape.columns, at = row * shape.columns;
              double dot = 0;
              for (int64_t c = 0; c < shape.columns; ++c) dot += y[first + c] * in[1][at + c];
              for (int64_t c = 0; c < shape.columns; ++c) {
                const double norm = in[0][first + c] / y[first + c];
                out[0][at + c] = (in[1][at + c] - y[first + c] * dot) / norm;
              }
            }
          },
      .targets = targets,
      .derivatives = {{.by = 0, .message = 1, .output = 0, .forward = [=](const Values& in, Values& out) {
                         out[0] = unit_rows(shape, in[0]);
                       }}}};
}

// f(output, input) for every element of a window and group: element indices.
template <class F>
void for_patches(const Conv2d& s, F&& f) {
  const int64_t columns = s.channels / s.groups;
  for (int64_t o = 0; o < s.batch * s.out_height() * s.out_width() * s.groups; ++o) {
    const int64_t group = o % s.groups, place = o / s.groups, image = place / (s.out_height() * s.out_width());
    const int64_t row = place / s.out_width() % s.out_height(), column = place % s.out_width();
    for (int64_t tap = 0; tap < s.kernel_height * s.kernel_width; ++tap) {
      const int64_t i = row * s.stride + tap / s.kernel_width * s.dilation - s.padding;
      const int64_t j = column * s.stride + tap % s.kernel_width * s.dilation - s.padding;
      if (i < 0 || i >= s.height || j < 0 || j >= s.width) continue;
      for (int64_t c = 0; c < columns; ++c) {
        f(o, ((image * s.height + i) * s.width + j) * s.channels + group * columns + c);
      }
    }
  }
}

Vector patch_norms(const Conv2d& s, double inside, double outside, const Vector& x) {
  Vector n(static_cast<size_t>(s.batch * s.out_height() * s.out_width() * s.groups));
  for_patches(s, [&](int64_t o, int64_t i) { n[o] += x[i] * x[i]; });
  for (double& value : n) value = std::sqrt(value + inside) + outside;
  return n;
}

std::string size_of(const Conv2d& s) {
  return fmt::format("{}x{}x{}x{} {}x{}/{} pad {} dilation {} groups {}", s.batch, s.height, s.width, s.channels,
                     s.kernel_height, s.kernel_width, s.stride, s.padding, s.dilation, s.groups);
}

KernelCase patch_norms_case(const Conv2d& s, float inside, float outside) {
  return {.name = fmt::format("patch_norms {}", size_of(s)),
          .inputs = {uniform(s.batch * s.height * s.width * s.channels, -1, 1, 64)},
          .outputs = {output(s.batch * s.out_height() * s.out_width() * s.groups)},
          .call = [=](Kernels& k, const Arguments& a) { k.patch_norms(s, inside, outside, a.in(0), a.out(0)); },
          .reference = [=](const Values& in, Values& out) { out[0] = patch_norms(s, inside, outside, in[0]); }};
}

KernelCase patch_norms_vjp_case(const Conv2d& s, int targets, float inside, float outside) {
  const int64_t inputs = s.batch * s.height * s.width * s.channels;
  const Array x = uniform(inputs, -1, 1, 65);
  const Vector n = patch_norms(s, inside, outside, as_doubles(x));
  const auto outputs = static_cast<int64_t>(n.size());
  return {.name = fmt::format("patch_norms_vjp {} targets {}", size_of(s), targets),
          .inputs = {x, values({n.begin(), n.end()}), per_target(uniform(targets * outputs, -1, 1, 66))},
          .outputs = {per_target(output(targets * inputs))},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.patch_norms_vjp(s, a.targets, outside, a.in(0), a.in(1), a.in(2), a.out(0));
              },
          .reference =
              [=](const Values& in, Values& out) {
                std::ranges::fill(out[0], 0);
                for (int64_t t = 0; t < targets; ++t) {
                  for_patches(s, [&](int64_t o, int64_t i) {
                    out[0][t * inputs + i] += in[0][i] * in[2][t * outputs + o] / (in[1][o] - outside);
                  });
                }
              },
          .targets = targets,
          .derivatives = {{.by = 0, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                             out[0] = patch_norms(s, inside, outside, in[0]);
                           }}}};
}

double scale(double exponent, double u, double n) {
  return std::pow(std::abs(u / n) + (exponent == 1 ? 0.0 : 1e-6), exponent);
}

Vector bcos(Rows shape, double exponent, const Vector& u, const Vector& n) {
  Vector y(u.size());
  for (size_t i = 0; i < u.size(); ++i) y[i] = scale(exponent, u[i], n[i / shape.columns]) * u[i];
  return y;
}

std::string named(const char* kernel, Rows shape, float exponent, int targets) {
  return fmt::format("{} {} B={}", kernel, size_of(shape, targets), exponent + 1);
}

KernelCase bcos_scale_case(Rows shape, float exponent, int targets, bool adds) {
  const int64_t n = shape.count();
  const Array u = uniform(n, -1, 1, 67), norms = uniform(shape.rows, 0.5, 2, 68);
  const Array v = per_target(uniform(targets * n, -1, 1, 69)), addend = per_target(uniform(targets * n, -1, 1, 76));
  return {.name = named("bcos_scale", shape, exponent, targets) + (adds ? " + addend" : ""),
          .inputs = adds ? std::vector<Array>{u, norms, v, addend} : std::vector<Array>{u, norms, v},
          .outputs = {per_target(output(targets * n))},
          .call =
              [=](Kernels& k, const Arguments& a) {
                k.bcos_scale(shape, a.targets, exponent, a.in(0), a.in(1), a.in(2), adds ? a.in(3) : nullptr, a.out(0));
              },
          .reference =
              [=](const Values& in, Values& out) {
                for (size_t i = 0; i < out[0].size(); ++i) {
                  const size_t at = i % n;
                  out[0][i] = scale(exponent, in[0][at], in[1][at / shape.columns]) * in[2][i] + (adds ? in[3][i] : 0);
                }
              },
          .tolerance = 2e-6,
          .targets = targets,
          .in_place = adds ? 3 : 2};
}

KernelCase bcos_scale_vjp_case(Rows shape, float exponent, int targets) {
  const int64_t n = shape.count();
  return {
      .name = named("bcos_scale_vjp", shape, exponent, targets),
      .inputs = {uniform(n, -1, 1, 70), uniform(shape.rows, 0.5, 2, 71), per_target(uniform(targets * n, -1, 1, 72))},
      .outputs = {per_target(output(targets * n))},
      .call =
          [=](Kernels& k, const Arguments& a) {
            k.bcos_scale_vjp(shape, a.targets, exponent, a.in(0), a.in(1), a.in(2), a.out(0));
          },
      .reference =
          [=](const Values& in, Values& out) {
            for (size_t i = 0; i < out[0].size(); ++i) {
              const size_t at = i % n;
              const double norm = in[1][at / shape.columns], cosine = std::abs(in[0][at]) / norm;
              const double share = exponent == 1 ? 1 : cosine / (cosine + 1e-6);
              out[0][i] = in[2][i] * scale(exponent, in[0][at], norm) * (1 + exponent * share);
            }
          },
      .tolerance = 2e-6,
      .targets = targets,
      .derivatives = {{.by = 0, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                         out[0] = bcos(shape, exponent, in[0], in[1]);
                       }}}};
}

// One sign of u and of the message: a sum of terms that cancel has a relative error of its own.
KernelCase bcos_norm_vjp_case(Rows shape, float exponent, int targets) {
  const int64_t n = shape.count();
  return {
      .name = named("bcos_norm_vjp", shape, exponent, targets),
      .inputs = {uniform(n, 0.1, 1, 73), uniform(shape.rows, 0.5, 2, 74), per_target(uniform(targets * n, 0, 1, 75))},
      .outputs = {per_target(output(targets * shape.rows))},
      .call =
          [=](Kernels& k, const Arguments& a) {
            k.bcos_norm_vjp(shape, a.targets, exponent, a.in(0), a.in(1), a.in(2), a.out(0));
          },
      .reference =
          [=](const Values& in, Values& out) {
            std::ranges::fill(out[0], 0);
            for (size_t i = 0; i < in[2].size(); ++i) {
              const size_t at = i % n;
              const double norm = in[1][at / shape.columns], cosine = std::abs(in[0][at]) / norm;
              const double share = exponent == 1 ? 1 : cosine / (cosine + 1e-6);
              out[0][i / shape.columns] -=
                  in[2][i] * in[0][at] * exponent * scale(exponent, in[0][at], norm) * share / norm;
            }
          },
      .tolerance = 2e-6,
      .targets = targets,
      .derivatives = {{.by = 1, .message = 2, .output = 0, .forward = [=](const Values& in, Values& out) {
                         out[0] = bcos(shape, exponent, in[0], in[1]);
                       }}}};
}

}  // namespace

std::vector<KernelCase> bcos_cases() {
  std::vector<KernelCase> cases;
  for (const Rows shape : {Rows{1, 1}, Rows{7, 10}, Rows{49, 17}, Rows{64, 256}, Rows{1003, 3}}) {
    cases.push_back(unit_rows_case(shape));
    if (shape.columns > 1) cases.push_back(unit_rows_vjp_case(shape, 3));
    for (const float exponent : {1.0f, 0.5f, 1.5f}) {
      for (const bool adds : {false, true}) cases.push_back(bcos_scale_case(shape, exponent, 3, adds));
      cases.push_back(bcos_scale_vjp_case(shape, exponent, 3));
      cases.push_back(bcos_norm_vjp_case(shape, exponent, 3));
    }
  }
  for (const Conv2d& shape :
       {Conv2d{.batch = 3, .height = 7, .width = 7, .channels = 64},
        Conv2d{.batch = 2, .height = 9, .width = 8, .channels = 6, .kernel_height = 3, .kernel_width = 3, .padding = 1},
        Conv2d{.batch = 2,
               .height = 9,
               .width = 8,
               .channels = 12,
               .kernel_height = 3,
               .kernel_width = 3,
               .stride = 2,
               .padding = 1,
               .groups = 4},
        Conv2d{.batch = 1,
               .height = 15,
               .width = 14,
               .channels = 6,
               .kernel_height = 7,
               .kernel_width = 7,
               .stride = 2,
               .padding = 3},
        Conv2d{.batch = 2, .height = 8, .width = 9, .channels = 5, .stride = 2},
        Conv2d{.batch = 1,
               .height = 9,
               .width = 9,
               .channels = 3,
               .kernel_height = 3,
               .kernel_width = 2,
               .padding = 2,
               .dilation = 2}}) {
    cases.push_back(patch_norms_case(shape, 1e-6f, 0));
    cases.push_back(patch_norms_vjp_case(shape, 3, 1e-6f, 0));
    cases.push_back(patch_norms_vjp_case(shape, 2, 0, 1e-12f));
  }
  return cases;
}

}  // namespace hp::cases
