// ResNets: torchvision's v1.5 (He et al. 2015, stride on the 3x3 of a bottleneck) and the small CIFAR form (section 4.2
// of the same paper); both also as B-cos networks (Boehle et al., "B-cos Alignment for Inherently Interpretable CNNs
// and Vision Transformers", 2023; protocol.md 1.3): B-cos convolutions, uncentred batch norm, no ReLU, an average pool
// in the stem.
#pragma once

#include <array>

#include "models/backbone.h"

namespace hp {

struct ResNetParams {
  std::array<int64_t, 4> blocks{2, 2, 2, 2};
  bool bottleneck = false;
  int64_t width = 64;       // channels of the first stage
  bool small_stem = false;  // for images of 64 pixels: a 3x3 convolution of stride 2 and no pooling
  bool bcos = false;
};

enum class Shortcut { pad, conv };  // option A (subsample and pad with zero channels) and option B (1x1 convolution)

struct CifarResNetParams {
  int64_t blocks = 3;  // per stage: depth 6 * blocks + 2
  Shortcut shortcut = Shortcut::pad;
  int64_t width = 16;  // channels of the first stage
  bool bcos = false;   // with Shortcut::conv
};

// Appends the network behind node "model_input"; names follow torchvision: conv1, bn1, relu, maxpool, layer1.0.conv1
// ... Returns the last feature map, [batch, height / 32, width / 32, 8 or 32 times the first stage's channels]; a
// small stem halves the division. A B-cos block's sum has the block's name.
Value append_resnet(Graph& graph, Value model_input, const ResNetParams& params);

// The same for CIFAR: three stages of 1, 2, 4 times the first one's channels; returns [batch, height / 4, width / 4,
// channels].
Value append_cifar_resnet(Graph& graph, Value model_input, const CifarResNetParams& params);

}  // namespace hp
