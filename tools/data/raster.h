// PNG and BMP decoding: stb_image behind checks of what it does not check itself.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tools/data/image.h"

namespace hp {

// Grey, palette, RGB, with or without alpha (dropped), 1 to 16 bits (the high byte), interlaced or not. Every chunk
// must be complete and have its checksum (PNG specification, 5.3); orientation from an eXIf chunk is applied.
Image decode_png(std::span<const uint8_t> bytes, std::string_view name);

// Uncompressed BMP; the pixel data must be complete.
Image decode_bmp(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace hp
