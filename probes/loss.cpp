#include "probes/loss.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {

std::string_view name_of(LossKind kind) {
  switch (kind) {
    case LossKind::ce:
      return "ce";
    case LossKind::bce:
      return "bce";
    case LossKind::uo_bce:
      return "uo_bce";
  }
  return "?";
}

LossKind loss_kind(std::string_view name) {
  for (const LossKind kind : {LossKind::ce, LossKind::bce, LossKind::uo_bce}) {
    if (name_of(kind) == name) return kind;
  }
  fail("[loss] unknown loss; got {}; expected ce, bce or uo_bce", printable(name));
}

OpKind op_of(LossKind kind) { return kind == LossKind::ce ? OpKind::cross_entropy : OpKind::binary_cross_entropy; }

void check_loss(LossKind kind, const Labels& labels) {
  require(kind != LossKind::ce || !labels.multi_label(),
          "[loss] cross entropy needs one class a sample; got multi-label data; expected loss bce or uo_bce");
}

void write_targets(LossKind kind, const Labels& labels, std::span<const int64_t> samples, std::span<float> targets,
                   double smoothing) {
  const auto classes = static_cast<size_t>(labels.classes());
  require(targets.size() == samples.size() * classes, "[loss] wrong size of targets; got {}; expected {}",
          targets.size(), samples.size() * classes);
  const double share = 1.0 / static_cast<double>(classes), lowest = kind == LossKind::uo_bce ? share : 0;
  const auto off = static_cast<float>(std::max(smoothing * share, lowest));
  const auto on = static_cast<float>(std::max(1 - smoothing + smoothing * share, lowest));
  std::fill(targets.begin(), targets.end(), off);
  for (size_t row = 0; row < samples.size(); ++row) {
    for (const int label : labels.present(samples[row])) targets[row * classes + static_cast<size_t>(label)] = on;
  }
}

double probability(LossKind kind, std::span<const float> logits, int64_t class_index) {
  const double logit = logits[static_cast<size_t>(class_index)];
  if (kind != LossKind::ce) return 1 / (1 + std::exp(-logit));
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float other : logits) sum += std::exp(other - highest);
  return std::exp(logit - highest) / sum;
}

}  // namespace hp
