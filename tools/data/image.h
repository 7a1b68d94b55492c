// Image: RGB bytes of one picture, and decoding by content: JPEG as Pillow does, PNG and BMP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/tensor.h"

namespace hp {

// Larger sides or areas are refused before any memory is taken (the area is where Pillow refuses too).
inline constexpr int max_image_side = 65500;
inline constexpr int64_t max_image_area = 178'956'970;

// RGB, 8 bits a channel, [height, width, 3], row-major.
struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(int height, int width);  // black; throws hp::Error beyond the limits above

  uint8_t* row(int y) { return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width) * 3; }
  const uint8_t* row(int y) const { return pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(width) * 3; }
  bool operator==(const Image&) const = default;
};

// Decodes a whole file's bytes; the format is found from the content, `name` is for the error text only. Grey becomes
// RGB, CMYK is converted as Pillow does, alpha is dropped, 16-bit channels keep their high byte, the EXIF orientation
// is applied. Throws hp::Error on anything that is not one complete picture.
Image decode_image(std::span<const uint8_t> bytes, std::string_view name);
Image decode_image(const std::filesystem::path& path);

// The picture as its EXIF orientation (1 to 8; TIFF 6.0 tag 0x0112) wants it to be shown.
Image orient(const Image& image, int orientation);

// float32 [images, height, width, 3] in [0, 1], byte / 255. All images must have one size.
Tensor to_float(std::span<const Image* const> images);
Tensor to_float(std::span<const Image> images);

}  // namespace hp
