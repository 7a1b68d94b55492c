// Digests: SHA-256 of bytes, to name a cache by what it was made from and to see whether a file changed.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace hp {

// 64 hexadecimal digits.
std::string sha256_of(std::span<const std::byte> bytes);
inline std::string sha256_of(std::string_view text) { return sha256_of(std::as_bytes(std::span(text))); }

}  // namespace hp
