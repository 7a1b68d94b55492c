// The ResNets by name, and which of them a set of tensors is.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/backbone.h"
#include "models/name.h"

namespace hp {

// Base names, in alphabetical order.
std::vector<std::string> resnet_names();

// Builds the whole backbone, or nothing if the base name is no ResNet. Throws hp::Error for unusable settings.
std::optional<Backbone> build_resnet(const std::string& architecture, const ModelName& name, ImageShape shape);

// The ResNets that tensors with these canonical names and shapes may be of, most often one.
std::vector<std::string> resnet_architectures_of(const std::map<std::string, Shape>& tensors);

}  // namespace hp
