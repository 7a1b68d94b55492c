// The files of models/keymaps as CMake compiled them in.
#pragma once

#include <span>
#include <string_view>

namespace hp {

struct EmbeddedKeyMap {
  std::string_view name, json;
};

std::span<const EmbeddedKeyMap> embedded_key_maps();

}  // namespace hp
