#include "tools/report/picture_data.h"

#include <algorithm>
#include <string_view>

#include "runtime/error.h"
#include "runtime/file.h"

namespace hp {
namespace {

// PNG specification, 5.2 and 11.2.2: the signature, then the length and name of the header, its width and height.
constexpr std::string_view signature("\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR", 16);
constexpr size_t width_at = 16, height_at = 20, header_end = 24;

uint32_t big_endian(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | std::to_integer<uint32_t>(byte);
  return value;
}

}  // namespace

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? std::to_integer<uint32_t>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += j <= count ? digits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::optional<PictureData> picture_data(const std::filesystem::path& path) {
  try {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    if (bytes.size() < header_end) return std::nullopt;
    const auto start = std::as_bytes(std::span(signature));
    if (!std::equal(start.begin(), start.end(), bytes.begin())) return std::nullopt;
    return PictureData{"data:image/png;base64," + base64(bytes), big_endian(bytes.subspan(width_at, 4)),
                       big_endian(bytes.subspan(height_at, 4))};
  } catch (const Error&) {
    return std::nullopt;  // the page says so in the picture's place
  }
}

}  // namespace hp
