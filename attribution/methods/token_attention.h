// Methods that read the attention of a vision transformer: raw attention, attention rollout, and the relevance of
// Chefer et al. Their maps are rows of products of attention maps [tokens, tokens]; only the row that is read is
// computed.
#pragma once

#include "attribution/method.h"

namespace hp {

// How the heads' attention maps become one: their mean, or the largest or smallest of them element by element.
enum class HeadFusion { mean, max, min };
// Whose row is read: that of the class token, or the mean of the patches' rows. automatic: the class token's where
// there is one and the features are made of it.
enum class Readout { automatic, class_token, patches };

// Layers are the softmaxes of self-attention between the model input and the features, "first" counts them from 0. The
// grid is that of the node "patch_embed"; tokens in front of the patches' are left out of the map. Maps are bilinear
// enlargements of the grid, [rows, height, width]; `raw` is the grid, [rows, rows of patches, columns of patches, 1].
struct TokenOptions {
  int first = 0;
  Readout readout = Readout::automatic;
};

// A^L of the last layer, the mean of the heads or one of them (attribution.md F.1). The same for every head and target.
struct RawAttentionOptions {
  int head = -1;  // of the attention; -1: their mean
  Readout readout = Readout::automatic;
};
AttributionPtr raw_attention_method(RawAttentionOptions options);

// Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020 (F.2): the product of (A + I), each row of
// which is divided by its sum. `discard` of the smallest elements of every fused A count as 0, but never the class
// token's of itself. The same for every head and target.
struct RolloutOptions {
  TokenOptions tokens;
  HeadFusion fusion = HeadFusion::mean;
  double discard = 0;
};
AttributionPtr attention_rollout_method(RolloutOptions options);

// attention: Chefer et al., "Generic Attention-Model Explainability", ICCV 2021 (F.4): R <- R + E R with E the mean
// over heads of (dA * A)+, dA the gradient of the target's logit. relevance: Chefer et al., "Transformer
// Interpretability Beyond Attention Visualization", CVPR 2021 (F.3): E of (dA * R_A)+, R_A the relevance of A by their
// LRP, which starts at 1.
enum class CheferVariant { attention, relevance };
struct CheferOptions {
  TokenOptions tokens;
  CheferVariant variant = CheferVariant::attention;
};
AttributionPtr chefer_method(CheferOptions options);

}  // namespace hp
