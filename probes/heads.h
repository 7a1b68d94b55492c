// Heads: what probes are made of, by kind: their parameters and their graph (protocol.md 3.1 and 3.2).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/graph.h"

namespace hp {

// All are 1x1 convolutions of the feature map; the mean over the map comes behind the last one.
// linear:      one convolution.
// mlp:         convolution, batch norm, ReLU, ..., convolution.
// bcos_linear: one B-cos convolution, without a bias.
// bcos_mlp:    B-cos convolution, uncentred batch norm, ..., B-cos convolution; no biases and no activation.
// converted:   linear with the classifier that a checkpoint came with, which is not trained.
// zero_shot:   the mean feature at unit length times one vector a class (CLIP, Radford et al. 2021): the embedding of a
//              text at unit length, multiplied by the logit scale. Not trained.
enum class HeadKind { linear, mlp, bcos_linear, bcos_mlp, converted, zero_shot };

std::string_view name_of(HeadKind);         // "bcos-mlp"
HeadKind head_kind(std::string_view name);  // throws hp::Error that lists the kinds
bool is_bcos(HeadKind kind);
// The logits are a function of the mean feature alone, so that pooled features are enough.
bool reads_pooled(HeadKind kind);

struct HeadShape {
  HeadKind kind = HeadKind::linear;
  int64_t channels = 1, hidden = 1, classes = 2;
  int layers = 1;
  bool bias = true;  // of the convolutions of linear and mlp
  float b = 2;       // the exponent B of B-cos convolutions
};

struct HeadParameter {
  std::string name;
  Shape shape;
  // uniform: in +-1/sqrt(inputs), as torch initialises a convolution.
  enum class Start { uniform, zero, one } start = Start::uniform;
  int64_t inputs = 1;
};

// One layer: "head.weight" [classes, channels, 1, 1] and "head.bias". Otherwise layer i has "head.fc<i>.weight" and
// "head.fc<i>.bias" (B-cos: "head.fc<i>.linear.weight" alone), and between two layers stand "head.bn<i>.weight",
// ".bias", ".running_mean", ".running_var" (B-cos: weight and running_var alone).
std::vector<HeadParameter> head_parameters(const HeadShape& shape);

std::string last_layer_name(const HeadShape& shape);  // "head.fc2": of the parameters whose rows are classes

// Appends the head up to the map of logits [batch, height, width, classes], the node "head". Batch norms are in their
// form for evaluation; a trainer makes its own of it (runtime/training_form.h).
Value build_head(Graph& graph, Value features, const HeadShape& shape);

}  // namespace hp
