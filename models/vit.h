// Vision transformers: ViT as timm, torchvision and DINO have it (Dosovitskiy et al. 2021; Touvron et al. 2021; Caron
// et al. 2021), CLIP's visual transformer (Radford et al. 2021), SimpleViT and ViT-C, standard and B-cos (Beyer et al.
// 2022; Xiao et al. 2021; Boehle et al. 2024; protocol.md 1.4, 1.5, 1.7).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/graph.h"
#include "runtime/op.h"

namespace hp {

// How a learned position embedding is brought to another grid of patches (protocol.md Q37).
enum class PositionResize {
  size,         // bicubic by the ratio of the sizes
  antialiased,  // the same, antialiased: timm's resample_abs_pos_embed
  dino,         // bicubic by the scale factor (grid + 0.1) / stored grid, as DINO does
};

struct VitParams {
  int64_t patch = 16, width = 768, depth = 12, heads = 12;
  int64_t grid = 14;        // side of the square of patches that the position embedding was trained for
  bool class_token = true;  // and learned positions; SimpleViT has neither: sin-cos positions, and the mean
  bool patch_bias = true, pre_norm = false;  // CLIP: no bias, and a norm before the first block
  int64_t embedding = 0;                     // CLIP: channels of the embedding that images and texts share
  float epsilon = 1e-6f;                     // of layer norms
  OpKind activation = OpKind::gelu;
  PositionResize resize = PositionResize::size;
  bool bcos = false;  // SimpleViT: B-cos layers but for the attention's q, k, v; norms without biases, no activation
  std::vector<int64_t> stem;  // ViT-C: channels of 3x3 convolutions in front of patches of one pixel

  int64_t hidden() const { return 4 * width; }
  int64_t stride() const;  // pixels of the image per token, in each direction
};

// What probes see of a network with tokens, as a map [batch, height, width, channels].
//   cls        the class token behind the last norm                                            [batch, 1, 1, width]
//   tokens     the patches' tokens behind the last norm; of SimpleViT, whose norm stands behind its mean, those behind
//   the last
//              block                                                       [batch, height / patch, width / patch,
//              width]
//   cls+mean   the class token and the mean of `tokens`, one after the other                [batch, 1, 1, 2 * width]
//   mean       of class-token networks the mean of `tokens`; of SimpleViT the norm of that     [batch, 1, 1, width]
//   embedding  CLIP: the class token, projected                                           [batch, 1, 1, embedding]
// A network's own classifier reads cls, SimpleViT's reads mean, texts are compared with CLIP's embedding: these are the
// choice where nothing is said.
enum class VitFeatures { own, cls, tokens, cls_and_mean, mean, embedding };
std::vector<std::string> vit_feature_names();
VitFeatures vit_features(std::string_view name);  // "" and "auto": own; throws hp::Error that lists the names

// Appends the network behind node "model_input" and returns its features. Throws hp::Error where the image's sides are
// not multiples of the patch, or the network has no such features.
//
// Nodes, in order: "patch_embed" [batch, rows, columns, width] (ViT-C: before it "patch_embed.stem.K"), "prepend",
// "pos_add", CLIP's "norm_pre"; per block I "blocks.I.norm1", "blocks.I.attn.{q,k,v,qk,scale,softmax,av,proj}",
// "blocks.I.add" (the sum behind the attention), "blocks.I.norm2", "blocks.I.mlp.{fc1,act,fc2}" and "blocks.I" (the
// block's output, [batch, tokens, width], the class token first); "norm", then "cls", "tokens", "mean", "proj" as far
// as the features need them.
//
// Parameters have timm's names (protocol.md 2.6): "cls_token" [1, 1, width], "pos_embed" [1, 1 + grid * grid, width],
// "patch_embed.proj.weight" [width, 3, patch, patch] (SimpleViT: [width, patch * patch * channels]) and ".bias",
// "norm_pre.{weight,bias}", "blocks.I.norm1.{weight,bias}", "blocks.I.attn.qkv.{weight,bias}" [3 * width, width],
// "blocks.I.attn.proj.{weight,bias}", "blocks.I.norm2.{weight,bias}", "blocks.I.mlp.{fc1,fc2}.{weight,bias}",
// "norm.{weight,bias}", CLIP's "proj.weight" [embedding, width]. SimpleViT has no biases at qkv and attn.proj. B-cos
// layers have
// ".linear.weight" for ".weight" and no biases, nor have the norms. The convolutional stem:
// "patch_embed.stem.{3K}.weight" and
// ".bias", its norms "patch_embed.stem.{3K+1}.{weight,bias}".
Value append_vit(Graph& graph, Value model_input, const VitParams& params, VitFeatures features);

}  // namespace hp
