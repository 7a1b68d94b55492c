// The checks of vision transformers, small in their source's container or as large as they are published.
#pragma once

#include <string>

namespace hp::golden {

// `name` of the golden files vit/<name>.safetensors and, where there is one, vit/<name>_maps.safetensors.
void check_vit(const std::string& name);

}  // namespace hp::golden
