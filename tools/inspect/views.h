// Views: what hp-inspect shows of a model, its rules, and files of tensors.
#pragma once

#include <filesystem>
#include <string>

#include "tools/inspect/model.h"

namespace hp {

enum class Format { text, json, dot };

struct ViewOptions {
  Format format = Format::text;
  bool all = false;  // every node or tensor, where the text would be a summary
};

// Nodes with shapes, parameters, FLOPs and bytes, of the backbone with its batch norms folded and of the classifier.
// The summary has a line per stage: neighbours whose names have the same first part.
std::string graph_view(const Model& model, const ViewOptions& options);

// Which rule every node has, why, and what it costs before and for every target. The summary has a line per rule and
// reason. `composite` as in parse_composite(). Throws hp::Error where the composite does not fit the model, or names
// nodes that it does not have.
std::string rules_view(const Model& model, const std::string& composite, const ViewOptions& options);

// Names, types, shapes and statistics of a .safetensors or .npy file, found by its content.
std::string tensor_view(const std::filesystem::path& file, const ViewOptions& options);

// The first part of a node's name: "layer3" of "layer3.2.conv1".
std::string stage_of(const std::string& node);

// "128x8x8" for [1, 8, 8, 128]: height, width and channels of one image, or whatever there is.
std::string shape_text(const Shape& shape);

}  // namespace hp
