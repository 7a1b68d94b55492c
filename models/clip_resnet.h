// The ResNets of CLIP (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021;
// protocol.md 1.7): a stem of three convolutions, average pools in front of every stride, attention in place of the
// global pool.
#pragma once

#include <array>

#include "models/backbone.h"

namespace hp {

struct ClipResNetParams {
  std::array<int64_t, 4> blocks{3, 4, 6, 3};
  int64_t width = 64;  // channels of the first stage
};

struct AttentionPoolParams {
  int64_t output = 1024;      // channels of the embedding
  int64_t native_side = 224;  // of the images that the position embedding was made for, a multiple of 32
};

// Appends stem and stages behind node "model_input"; names follow CLIP's visual tower: conv1, bn1, relu1, ... conv3,
// avgpool, layer1.0.conv1, ... Returns the last feature map, [batch, height / 32, width / 32, 32 width].
Value append_clip_resnet(Graph& graph, Value model_input, const ClipResNetParams& params);

// Appends CLIP's attention pool behind a feature map [batch, height, width, channels]: the mean of the map asks, the
// mean and every position answer, in heads of 64 channels. Parameters and nodes are called "attnpool."...; the position
// embedding is resized (bicubic, by size) for maps of another size. Returns [batch, 1, 1, output].
Value append_attention_pool(Graph& graph, Value map, const AttentionPoolParams& params);

}  // namespace hp
