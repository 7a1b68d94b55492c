// Picture data: a PNG file as text for the page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace hp {

// RFC 4648.
std::string base64(std::span<const std::byte> bytes);

struct PictureData {
  std::string url;  // "data:image/png;base64,..."
  uint32_t width = 0, height = 0;
};
// Nothing if the file cannot be read or does not start as a PNG file does.
std::optional<PictureData> picture_data(const std::filesystem::path& path);

}  // namespace hp
