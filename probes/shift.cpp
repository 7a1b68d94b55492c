#include "probes/shift.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/error.h"
#include "runtime/random.h"
#include "runtime/text.h"

namespace hp {
namespace {

using Vector = std::vector<double>;

Vector mean_weight(const Probe& probe) {
  const Tensor& weight = probe.parameters.at("head.weight");
  const auto channels = static_cast<size_t>(probe.channels());
  Vector mean(channels, 0);
  for (int64_t i = 0; i < weight.count(); ++i) mean[static_cast<size_t>(i) % channels] += weight.floats()[i];
  return mean;  // times the number of classes: only the direction counts
}

Vector mean_feature(const Features& features) {
  const Shape shape = features.row_shape();
  Vector mean(static_cast<size_t>(shape[-1]), 0);
  std::vector<float> values(static_cast<size_t>(shape.count()));
  for (int64_t row = 0; row < features.size(); ++row) {
    features.gather(std::span(&row, 1), values.data());
    for (size_t i = 0; i < values.size(); ++i) mean[i % mean.size()] += values[i];
  }
  return mean;
}

Vector gaussian(size_t count, uint64_t seed) {
  const Random random(seed, "shift direction");
  Vector values(count);
  for (size_t i = 0; i < count; ++i) values[i] = random.normal(i);
  return values;
}

// log(1 + exp(z))
double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

Vector softmax(std::span<const float> logits) {
  const double largest = *std::ranges::max_element(logits);
  Vector p;
  for (const float z : logits) p.push_back(std::exp(z - largest));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

}  // namespace

std::string_view name_of(ShiftDirection direction) {
  return direction == ShiftDirection::random              ? "random"
         : direction == ShiftDirection::minus_mean_weight ? "minus_mean_weight"
                                                          : "mean_feature";
}

ShiftDirection shift_direction(std::string_view name) {
  for (const ShiftDirection direction :
       {ShiftDirection::random, ShiftDirection::minus_mean_weight, ShiftDirection::mean_feature}) {
    if (name_of(direction) == name) return direction;
  }
  fail("[shift] unknown direction; got {}; expected random, minus_mean_weight or mean_feature", printable(name));
}

void check_shift(const Probe& probe) {
  require(reads_pooled(probe.spec().head),
          "[shift] probe '{}' is not linear; got head {}; expected linear or converted, whose logits all move by the "
          "same amount",
          probe.spec().name, name_of(probe.spec().head));
}

std::vector<float> shift_vector(const Probe& probe, ShiftDirection direction, const Features& features, uint64_t seed) {
  check_shift(probe);
  Vector vector = direction == ShiftDirection::random         ? gaussian(static_cast<size_t>(probe.channels()), seed)
                  : direction == ShiftDirection::mean_feature ? mean_feature(features)
                                                              : mean_weight(probe);
  if (direction == ShiftDirection::minus_mean_weight) {
    for (double& value : vector) value = -value;
  }
  const double length = std::sqrt(std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0));
  require(length > 0 && std::isfinite(length), "[shift] direction {} has no length; got {}; expected another direction",
          name_of(direction), length);
  std::vector<float> unit;
  for (const double value : vector) unit.push_back(static_cast<float>(value / length));
  return unit;
}

double mean_weight_norm(const Probe& probe) {
  const Tensor& weight = probe.parameters.at("head.weight");
  const int64_t channels = probe.channels(), classes = probe.class_count();
  double sum = 0;
  for (int64_t k = 0; k < classes; ++k) {
    const float* w = weight.floats() + k * channels;
    sum += std::sqrt(std::inner_product(w, w + channels, w, 0.0));
  }
  return sum / static_cast<double>(classes);
}

Probe shifted(const Probe& probe, std::span<const float> unit, double scale) {
  check_shift(probe);
  require(static_cast<int64_t>(unit.size()) == probe.channels(),
          "[shift] vector does not fit probe '{}'; got {} channels; expected {}", probe.spec().name, unit.size(),
          probe.channels());
  Probe result = probe.copy(fmt::format("{} {:+g}", probe.spec().name, scale));
  const Tensor& from = probe.parameters.at("head.weight");
  const Tensor to = Tensor::host(from.shape());
  const double length = scale * mean_weight_norm(probe);
  for (int64_t i = 0; i < from.count(); ++i) {
    to.floats()[i] = static_cast<float>(from.floats()[i] + length * unit[static_cast<size_t>(i) % unit.size()]);
  }
  result.parameters.set("head.weight", to);
  return result;
}

ShiftScores shift_scores(const Predictions& predictions, const Predictions& before, const Labels& labels) {
  require(!labels.multi_label(), "[shift] softmax needs one class a sample; got multi-label data");
  require(predictions.logits.size() == before.logits.size() && predictions.rows() >= 1,
          "[shift] predictions do not fit; got {} and {} logits; expected equal samples", predictions.logits.size(),
          before.logits.size());
  ShiftScores scores;
  const auto rows = static_cast<double>(predictions.rows()), classes = static_cast<double>(predictions.classes);
  for (int64_t row = 0; row < predictions.rows(); ++row) {
    const std::span<const float> z = predictions.row(row), z_before = before.row(row);
    const auto label = static_cast<size_t>(labels.label(predictions.samples[static_cast<size_t>(row)]));
    const Vector p = softmax(z), p_before = softmax(z_before);
    double exponentials = 0;  // log sum exp(z - z_label), without cancellation where the label is certain
    for (size_t k = 0; k < z.size(); ++k) {
      if (k != label) exponentials += std::exp(static_cast<double>(z[k]) - z[label]);
      scores.bce += (softplus(z[k]) - (k == label ? z[k] : 0.0)) / (rows * classes);
      scores.softmax_change = std::max(scores.softmax_change, std::abs(p[k] - p_before[k]));
      const double sigmoid = 1 / (1 + std::exp(-static_cast<double>(z[k])));
      const double sigmoid_before = 1 / (1 + std::exp(-static_cast<double>(z_before[k])));
      scores.sigmoid_change = std::max(scores.sigmoid_change, std::abs(sigmoid - sigmoid_before));
    }
    scores.ce += std::log1p(exponentials) / rows;
    scores.top1 += (predictions.best(row) == static_cast<int64_t>(label) ? 1 : 0) / rows;
  }
  return scores;
}

}  // namespace hp
