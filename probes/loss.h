// Losses of probes: their names, their target matrices, and the probabilities that go with them (protocol.md 3.3).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "probes/labels.h"
#include "runtime/graph.h"

namespace hp {

// ce:     softmax cross entropy; targets one-hot.
// bce:    binary cross entropy with logits, mean over batch * classes; targets one-hot or multi-hot.
// uo_bce: the same with "uniform off labels": every target is raised to at least 1/classes.
enum class LossKind { ce, bce, uo_bce };

std::string_view name_of(LossKind);
LossKind loss_kind(std::string_view name);  // throws hp::Error that lists the three

OpKind op_of(LossKind);  // the loss node

// Throws hp::Error where a loss makes no sense: cross entropy on multi-label data.
void check_loss(LossKind, const Labels&);

// Writes targets [samples, classes]. Classes that are difficult only count as absent (protocol.md 3.3): they are masked
// in metrics, not in the loss. With label smoothing s a target t becomes t (1 - s) + s / classes, before uo_bce raises
// it.
void write_targets(LossKind, const Labels&, std::span<const int64_t> samples, std::span<float> targets,
                   double smoothing = 0);

// The probability that a probe gives to a class: softmax of the logits for ce, sigmoid of its logit for bce and uo_bce.
// In double precision.
double probability(LossKind, std::span<const float> logits, int64_t class_index);

}  // namespace hp
