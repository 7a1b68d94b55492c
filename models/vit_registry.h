// Names of vision transformers, and which one a set of tensors is.
//
//   vit_{ti,s,b,l}_{8,14,16,32}     timm's and torchvision's networks: class token, erf GELU, layer norm epsilon 1e-6
//   dino_vit{t,s,b}{8,16}           DINO's, the same but for the way in which position embeddings are resized
//   clip_vit_{b_32,b_16,l_14}       CLIP's visual transformers
//   simple_vit_{ti,s,b,l}, bcos_simple_vit_...  patches of 16
//   vitc_{ti,s,b,l}, bcos_vitc_...  SimpleViT behind a convolutional stem; one block less
//
// Settings behind a name: _w width, _d depth, _h heads (otherwise one per 64 channels), _p patch, _r the side of the
// images that the position embedding was trained for (otherwise 224), _e channels of CLIP's embedding: "vit_b_16_r384",
// "vit_ti_8_w24_d2_h3_r32".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/backbone.h"
#include "models/name.h"
#include "models/vit.h"
#include "runtime/shape.h"

namespace hp {

std::vector<std::string> vit_architectures();  // the base names

// Nothing if the base is no vision transformer. Throws hp::Error if the settings do not fit it.
std::optional<VitParams> vit_params(const ModelName& name);

// The whole backbone, or nothing if the base is no vision transformer; `features`: one of vit_feature_names().
std::optional<Backbone> build_vit(const std::string& architecture, const ModelName& name, ImageShape shape,
                                  const std::string& features);

// The names that tensors with these canonical names (models/vit.h) and shapes may be of, settings only where a value is
// not the base's own; empty if they are no vision transformer, or one whose heads its width does not tell. At most two.
std::vector<std::string> vit_architectures_of(const std::map<std::string, Shape>& tensors);

}  // namespace hp
