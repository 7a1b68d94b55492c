// Heat maps as pictures: colours, enlarging, montage, PNG.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace hp {

// 8-bit RGB, row-major: rgb[(y * width + x) * 3 + channel].
struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

// An image [height, width, 3] in [0, 1], rounded to 8 bits; values outside are clamped.
Picture picture_of(std::span<const float> image, int64_t height, int64_t width);

struct HeatColours {
  double percentile = 100;  // of |m|: the value that gets the full colour; 100 is the largest
};

// A signed map [height, width] in blue (negative), white (0) and red: v = (m + a) / (2a) on matplotlib's "bwr", with
// a the percentile of |m| + 1e-12 (protocol.md 6.3). NaN becomes grey.
Picture heat_picture(std::span<const float> map, int64_t height, int64_t width, HeatColours colours = {});

// Every pixel as a square of factor x factor.
Picture enlarged(const Picture& picture, int64_t factor);

// Pictures side by side on white, `gap` pixels between them, aligned at the top.
Picture montage(std::span<const Picture> pictures, int64_t gap = 4);

// The whole PNG file in memory.
std::vector<uint8_t> encode_png(const Picture& picture);

// The file appears complete or not at all; throws hp::Error if it cannot be written.
void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace hp
