// The mark of PyTorch's legacy stream: its first pickle is the integer 0x1950a86a20f9469cfc6c.
#pragma once

#include <algorithm>
#include <string_view>

namespace hp {

inline constexpr std::string_view legacy_magic{"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10};  // little-endian

// PROTO n, from protocol 4 on FRAME with 8 bytes of length, then LONG1 of 10 bytes.
inline bool has_legacy_magic(std::string_view file) {
  if (file.size() < 2 || file[0] != '\x80') return false;
  file.remove_prefix(2);
  if (file.starts_with('\x95')) file.remove_prefix(std::min<size_t>(9, file.size()));
  return file.starts_with("\x8a\x0a") && file.substr(2).starts_with(legacy_magic);
}

}  // namespace hp
