// Shift: one vector added to the weights of every class of a linear probe. Softmax and cross entropy do not see it,
// w_k -> w_k + d adds the same d . f to every logit, but every sigmoid and every attribution of a single logit does.
#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "probes/evaluation.h"

namespace hp {

// random: a Gaussian vector by seed. minus_mean_weight: against the mean of the classes' weights. mean_feature: along
// the mean feature, over samples and positions.
enum class ShiftDirection { random, minus_mean_weight, mean_feature };

std::string_view name_of(ShiftDirection);
ShiftDirection shift_direction(std::string_view name);  // throws hp::Error that lists the three

// Throws hp::Error unless the probe is linear, trained or converted.
void check_shift(const Probe& probe);

// Of length 1, [channels]. `features` are read for mean_feature alone. Throws hp::Error where the direction has no
// length.
std::vector<float> shift_vector(const Probe& probe, ShiftDirection direction, const Features& features, uint64_t seed);

// The mean over the classes of |w_k|, the unit of a shift's scale.
double mean_weight_norm(const Probe& probe);

// w_k + scale * mean_weight_norm * unit for every class k; the bias is left alone. Named "linear-ce +0.5".
Probe shifted(const Probe& probe, std::span<const float> unit, double scale);

// Single-label data. Losses are means, over samples (ce) and over samples * classes (bce, one-hot targets).
struct ShiftScores {
  double ce = 0, bce = 0, top1 = 0;
  double softmax_change = 0, sigmoid_change = 0;  // the largest difference of any probability from the unshifted ones
};
// Of logits as they were computed, in single precision: a shift that moves a logit by hundreds rounds its last digits
// away, and with them those of the softmax.
ShiftScores shift_scores(const Predictions& predictions, const Predictions& before, const Labels& labels);
// Of the shifts by every scale, with everything behind the features in double precision: the mean over the positions,
// the shifted weights, and the logits, which are summed anew from these. Nothing if it was cancelled.
std::optional<std::vector<ShiftScores>> exact_shift_scores(const Probe& probe, std::span<const float> unit,
                                                           std::span<const double> scales, const Features& features,
                                                           const Labels& labels,
                                                           const std::atomic<bool>* cancelled = nullptr);

}  // namespace hp
