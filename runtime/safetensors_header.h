// The JSON header of a .safetensors file, read without trusting it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hp {

// One tensor as the header announces it; nothing is checked but that each member is there, once, and of the right kind.
struct HeaderEntry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes, from the start of the data
};

struct Header {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

// Throws hp::Error: no JSON object, a key twice (parsers commonly keep the last in silence), unknown or missing
// members, wrong kinds.
Header parse_header(std::string_view text, std::string_view where);

}  // namespace hp
