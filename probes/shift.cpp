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

Vector softmax(std::span<const double> logits) {
  const double largest = *std::ranges::max_element(logits);
  Vector p;
  for (const double z : logits) p.push_back(std::exp(z - largest));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// Adds samples up to the scores of `rows` of them.
class ShiftTally {
 public:
  explicit ShiftTally(int64_t rows) : rows_(static_cast<double>(rows)) {}

  void add(std::span<const double> z, std::span<const double> z_before, size_t label) {
    const auto classes = static_cast<double>(z.size());
    const Vector p = softmax(z), p_before = softmax(z_before);
    double exponentials = 0;  // log sum exp(z - z_label), without cancellation where the label is certain
    for (size_t k = 0; k < z.size(); ++k) {
      if (k != label) exponentials += std::exp(z[k] - z[label]);
      scores_.bce += (softplus(z[k]) - (k == label ? z[k] : 0.0)) / (rows_ * classes);
      scores_.softmax_change = std::max(scores_.softmax_change, std::abs(p[k] - p_before[k]));
      scores_.sigmoid_change = std::max(scores_.sigmoid_change, std::abs(sigmoid(z[k]) - sigmoid(z_before[k])));
    }
    scores_.ce += std::log1p(exponentials) / rows_;
    const auto best = static_cast<size_t>(std::ranges::max_element(z) - z.begin());
    scores_.top1 += (best == label ? 1 : 0) / rows_;
  }
  const ShiftScores& scores() const { return scores_; }

 private:
  double rows_;
  ShiftScores scores_;
};

// Sums in eight lanes: one after the other would wait for itself.
double dot(std::span<const double> a, const double* b) {
  constexpr size_t lanes = 8;
  double sums[lanes] = {};
  size_t i = 0;
  for (; i + lanes <= a.size(); i += lanes) {
    for (size_t lane = 0; lane < lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (size_t lane = 0; i < a.size(); ++i, ++lane) sums[lane] += a[i] * b[i];
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

// A linear probe in double precision.
class ExactProbe {
 public:
  ExactProbe(const Probe& probe, std::span<const float> unit)
      : probe_(probe), unit_(unit), length_(mean_weight_norm(probe)) {}

  // Means over the positions of features, [rows, channels].
  Vector pooled(const Features& features, std::span<const int64_t> rows) const {
    const auto channels = static_cast<size_t>(probe_.channels());
    const auto size = static_cast<size_t>(features.row_shape().count());
    const size_t positions = size / channels;
    std::vector<float> values(size * rows.size());
    features.gather(rows, values.data());
    Vector means(channels * rows.size(), 0);
    for (size_t i = 0; i < values.size(); ++i)
      means[i / size * channels + i % channels] += values[i] / static_cast<double>(positions);
    return means;
  }

  // [rows, classes], of weights shifted by `scale`. Each weight is made once for all rows.
  Vector logits(const Vector& pooled, double scale) const {
    const auto channels = static_cast<size_t>(probe_.channels()), classes = static_cast<size_t>(probe_.class_count());
    const size_t rows = pooled.size() / channels;
    const float* weight = probe_.parameters.at("head.weight").floats();
    const float* bias = probe_.spec().bias ? probe_.parameters.at("head.bias").floats() : nullptr;
    Vector result(rows * classes), w(channels);
    for (size_t k = 0; k < classes; ++k) {
      for (size_t c = 0; c < channels; ++c) w[c] = weight[k * channels + c] + scale * length_ * unit_[c];
      for (size_t row = 0; row < rows; ++row) {
        const double z = dot(w, pooled.data() + row * channels) + (bias ? bias[k] : 0.0);
        result[row * classes + k] = z / probe_.spec().temperature + probe_.spec().logit_constant;
      }
    }
    return result;
  }

 private:
  const Probe& probe_;
  std::span<const float> unit_;
  double length_;
};

void check_vector(const Probe& probe, std::span<const float> unit) {
  check_shift(probe);
  require(static_cast<int64_t>(unit.size()) == probe.channels(),
          "[shift] vector does not fit probe '{}'; got {} channels; expected {}", probe.spec().name, unit.size(),
          probe.channels());
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
  require(reads_pooled(probe.spec().head) && probe.spec().head != HeadKind::zero_shot,
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
  check_vector(probe, unit);
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
  ShiftTally tally(predictions.rows());
  for (int64_t row = 0; row < predictions.rows(); ++row) {
    const std::span<const float> z = predictions.row(row), z_before = before.row(row);
    tally.add(Vector(z.begin(), z.end()), Vector(z_before.begin(), z_before.end()),
              static_cast<size_t>(labels.label(predictions.samples[static_cast<size_t>(row)])));
  }
  return tally.scores();
}

std::optional<std::vector<ShiftScores>> exact_shift_scores(const Probe& probe, std::span<const float> unit,
                                                           std::span<const double> scales, const Features& features,
                                                           const Labels& labels, const std::atomic<bool>* cancelled) {
  check_vector(probe, unit);
  require(!labels.multi_label(), "[shift] softmax needs one class a sample; got multi-label data");
  const ExactProbe exact(probe, unit);
  const auto classes = static_cast<size_t>(probe.class_count());
  std::vector<ShiftTally> tallies(scales.size(), ShiftTally(features.size()));
  constexpr int64_t rows_at_once = 64;
  for (int64_t first = 0; first < features.size(); first += rows_at_once) {
    if (cancelled && *cancelled) return std::nullopt;
    std::vector<int64_t> rows(static_cast<size_t>(std::min(rows_at_once, features.size() - first)));
    std::iota(rows.begin(), rows.end(), first);
    const Vector pooled = exact.pooled(features, rows), before = exact.logits(pooled, 0);
    for (size_t s = 0; s < scales.size(); ++s) {
      const Vector after = exact.logits(pooled, scales[s]);
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto row_of = [&](const Vector& all) { return std::span(all).subspan(i * classes, classes); };
        tallies[s].add(row_of(after), row_of(before), static_cast<size_t>(labels.label(features.sample(rows[i]))));
      }
    }
  }
  std::vector<ShiftScores> scores;
  for (const ShiftTally& tally : tallies) scores.push_back(tally.scores());
  return scores;
}

}  // namespace hp
