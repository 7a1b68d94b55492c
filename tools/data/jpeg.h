// JPEG decoding with libjpeg-turbo (accurate integer DCT, fancy upsampling: Pillow's pixels).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tools/data/image.h"

namespace hp {

// Baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK (four-channel files hold inverted inks, as Adobe writes
// them and Pillow assumes). EXIF orientation applied. A file that ends early is an error; other complaints of the
// library about a complete file (stray bytes between segments) are ignored, as Pillow does.
Image decode_jpeg(std::span<const uint8_t> bytes, std::string_view name);

}  // namespace hp
