#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

using Vector = std::vector<double>;
using Loss = Vector (*)(Rows, const Vector& z, const Vector& t);  // [rows]

Vector cross_entropy(Rows shape, const Vector& z, const Vector& t) {
  Vector loss(shape.rows);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const auto begin = z.begin() + row * shape.columns;
    const double largest = *std::max_element(begin, begin + shape.columns);
    double sum = 0;
    for (int64_t c = 0; c < shape.columns; ++c) sum += std::exp(begin[c] - largest);
    for (int64_t c = 0; c < shape.columns; ++c) {
      loss[row] += t[row * shape.columns + c] * (largest + std::log(sum) - begin[c]);
    }
  }
  return loss;
}

Vector cross_entropy_gradient(Rows shape, const Vector& z, const Vector& t) {
  Vector gradient(z.size());
  for (int64_t row = 0; row < shape.rows; ++row) {
    const auto begin = z.begin() + row * shape.columns;
    const double largest = *std::max_element(begin, begin + shape.columns);
    double sum = 0, weight = 0;
    for (int64_t c = 0; c < shape.columns; ++c) sum += std::exp(begin[c] - largest);
    for (int64_t c = 0; c < shape.columns; ++c) weight += t[row * shape.columns + c];
    for (int64_t c = 0; c < shape.columns; ++c) {
      const int64_t i = row * shape.columns + c;
      gradient[i] = weight * std::exp(z[i] - largest) / sum - t[i];
    }
  }
  return gradient;
}

Vector binary_cross_entropy(Rows shape, const Vector& z, const Vector& t) {
  Vector loss(shape.rows);
  for (size_t i = 0; i < z.size(); ++i) {
    loss[i / shape.columns] += std::max(z[i], 0.0) + std::log1p(std::exp(-std::abs(z[i]))) - t[i] * z[i];
  }
  return loss;
}

Vector binary_cross_entropy_gradient(Rows, const Vector& z, const Vector& t) {
  Vector gradient(z.size());
  for (size_t i = 0; i < z.size(); ++i) gradient[i] = 1 / (1 + std::exp(-z[i])) - t[i];
  return gradient;
}

enum class Targets { one_hot, uniform_off, multi_hot, soft };

// One-hot; max(one-hot, 1 / columns) as UO-BCE wants; several ones or none; any weights in [0, 1).
Array dense_targets(Rows shape, Targets kind) {
  const Array label = uniform_ints(shape.rows, 0, static_cast<int32_t>(shape.columns), 2);
  Array t = uniform(shape.count(), 0, 1, 3);
  for (int64_t i = 0; i < shape.count(); ++i) {
    const bool is_label = i % shape.columns == label.ints[i / shape.columns];
    if (kind == Targets::one_hot) t.floats[i] = is_label ? 1.0f : 0.0f;
    if (kind == Targets::uniform_off) t.floats[i] = is_label ? 1.0f : 1.0f / static_cast<float>(shape.columns);
    if (kind == Targets::multi_hot) t.floats[i] = t.floats[i] > 0.7f ? 1.0f : 0.0f;
  }
  return t;
}

// inputs[2] holds the scale once per row, so that dz is the gradient of sum(scale * loss).
KernelCase loss_case(bool binary, Rows shape, Targets kind, double range, bool with_gradient) {
  const Loss loss = binary ? binary_cross_entropy : cross_entropy;
  const Loss gradient = binary ? binary_cross_entropy_gradient : cross_entropy_gradient;
  const float scale = 1.0f / static_cast<float>(shape.rows);
  KernelCase result = {
      .name = fmt::format("{} {}x{} targets kind {} range {}{}", binary ? "binary_cross_entropy" : "cross_entropy",
                          shape.rows, shape.columns, static_cast<int>(kind), range, with_gradient ? "" : " loss only"),
      .inputs = {uniform(shape.count(), -range, range, 1), dense_targets(shape, kind),
                 values(std::vector<float>(shape.rows, scale))},
      .outputs = {output(shape.rows)},
      .call =
          [=](Kernels& k, const Arguments& a) {
            float* dz = with_gradient ? a.out(1) : nullptr;
            if (binary) k.binary_cross_entropy(shape, a.in(0), a.in(1), scale, a.out(0), dz);
            if (!binary) k.cross_entropy(shape, a.in(0), a.in(1), scale, a.out(0), dz);
          },
      .reference =
          [=](const Values& in, Values& out) {
            out[0] = loss(shape, in[0], in[1]);
            if (!with_gradient) return;
            out[1] = gradient(shape, in[0], in[1]);
            for (double& value : out[1]) value *= scale;
          }};
  if (!with_gradient) return result;
  result.outputs.push_back(output(shape.count()));
  const auto forward = [=](const Values& in, Values& out) { out[0] = loss(shape, in[0], in[1]); };
  // Differences of losses of 1e4 have no digits left.
  if (range < 100) result.derivatives = {{.by = 0, .message = 2, .output = 1, .forward = forward}};
  return result;
}

}  // namespace

std::vector<KernelCase> losses_cases() {
  std::vector<KernelCase> cases;
  for (const bool binary : {false, true}) {
    for (const Rows shape : {Rows{1, 1}, Rows{1, 3}, Rows{7, 16}, Rows{64, 10}, Rows{7, 197}, Rows{64, 1000}}) {
      for (const Targets kind : {Targets::one_hot, Targets::uniform_off, Targets::multi_hot, Targets::soft}) {
        cases.push_back(loss_case(binary, shape, kind, 4, true));
      }
      cases.push_back(loss_case(binary, shape, Targets::one_hot, 1e4, true));
      cases.push_back(loss_case(binary, shape, Targets::uniform_off, 4, false));
    }
    cases.push_back(loss_case(binary, {1003, 17}, Targets::soft, 4, true));
  }
  return cases;
}

}  // namespace hp::cases
