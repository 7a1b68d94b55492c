#include "attribution/image.h"

#include <stb_image_write.h>

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "runtime/file.h"

namespace hp {

namespace {

Picture blank(int64_t height, int64_t width, uint8_t value) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(3 * height * width), value)};
}

void check_extents(std::string_view what, size_t got, int64_t height, int64_t width, int64_t channels) {
  require(height > 0 && width > 0 && got == static_cast<size_t>(height * width * channels),
          "[image] {} does not fit its size; got {} values; expected {} x {} x {}", what, got, height, width, channels);
}

uint8_t byte_of(double unit) { return static_cast<uint8_t>(std::lround(255 * std::clamp(unit, 0.0, 1.0))); }

// The value below which `percentile` per cent of |map| lie (the nearest rank, no interpolation).
double full_scale(std::span<const float> map, double percentile) {
  std::vector<float> magnitudes;
  magnitudes.reserve(map.size());
  for (float value : map) {
    if (std::isfinite(value)) magnitudes.push_back(std::fabs(value));
  }
  if (magnitudes.empty()) return 0;
  const double rank = std::ceil(percentile / 100 * static_cast<double>(magnitudes.size())) - 1;
  const auto at =
      magnitudes.begin() + static_cast<ptrdiff_t>(std::clamp(rank, 0.0, static_cast<double>(magnitudes.size() - 1)));
  std::nth_element(magnitudes.begin(), at, magnitudes.end());
  return *at;
}

}  // namespace

Picture picture_of(std::span<const float> image, int64_t height, int64_t width) {
  check_extents("image", image.size(), height, width, 3);
  Picture picture = blank(height, width, 0);
  for (size_t i = 0; i < image.size(); ++i) picture.rgb[i] = std::isnan(image[i]) ? 128 : byte_of(image[i]);
  return picture;
}

Picture heat_picture(std::span<const float> map, int64_t height, int64_t width, HeatColours colours) {
  check_extents("heat map", map.size(), height, width, 1);
  require(colours.percentile > 0 && colours.percentile <= 100,
          "[image] percentile out of range; got {}; expected above 0, at most 100", colours.percentile);
  const double scale = full_scale(map, colours.percentile) + 1e-12;
  Picture picture = blank(height, width, 128);
  for (size_t i = 0; i < map.size(); ++i) {
    if (std::isnan(map[i])) continue;
    const double value = std::clamp(map[i] / scale, -1.0, 1.0);  // -1 blue, 0 white, 1 red
    picture.rgb[3 * i] = byte_of(1 + std::min(value, 0.0));
    picture.rgb[3 * i + 1] = byte_of(1 - std::fabs(value));
    picture.rgb[3 * i + 2] = byte_of(1 - std::max(value, 0.0));
  }
  return picture;
}

Picture enlarged(const Picture& picture, int64_t factor) {
  require(factor >= 1, "[image] enlarging factor out of range; got {}; expected at least 1", factor);
  Picture result = blank(picture.height * factor, picture.width * factor, 0);
  for (int64_t y = 0; y < result.height; ++y) {
    for (int64_t x = 0; x < result.width; ++x) {
      const auto from = picture.rgb.begin() + 3 * (y / factor * picture.width + x / factor);
      std::copy_n(from, 3, result.rgb.begin() + 3 * (y * result.width + x));
    }
  }
  return result;
}

Picture montage(std::span<const Picture> pictures, int64_t gap) {
  require(!pictures.empty() && gap >= 0, "[image] a montage needs a picture and no negative gap; got {} and {}",
          pictures.size(), gap);
  int64_t width = -gap, height = 0;
  for (const Picture& picture : pictures) {
    width += picture.width + gap;
    height = std::max(height, picture.height);
  }
  Picture result = blank(height, width, 255);
  int64_t left = 0;
  for (const Picture& picture : pictures) {
    for (int64_t y = 0; y < picture.height; ++y) {
      std::copy_n(picture.rgb.begin() + 3 * y * picture.width, 3 * picture.width,
                  result.rgb.begin() + 3 * (y * width + left));
    }
    left += picture.width + gap;
  }
  return result;
}

std::vector<uint8_t> encode_png(const Picture& picture) {
  check_extents("picture", picture.rgb.size(), picture.height, picture.width, 3);
  constexpr int64_t largest = int64_t{1} << 14;  // stb counts bytes in int: 2^14 * 2^14 * 3 still fits
  require(picture.width <= largest && picture.height <= largest,
          "[image] picture too large for PNG; got {} x {}; expected at most {} a side", picture.width, picture.height,
          largest);
  std::vector<uint8_t> bytes;
  const auto append = [](void* to, void* data, int size) {
    auto* out = static_cast<std::vector<uint8_t>*>(to);
    const auto* begin = static_cast<const uint8_t*>(data);
    out->insert(out->end(), begin, begin + size);
  };
  const int ok = stbi_write_png_to_func(append, &bytes, static_cast<int>(picture.width),
                                        static_cast<int>(picture.height), 3, picture.rgb.data(), 0);
  require(ok != 0, "[image] PNG encoding failed for {} x {} pixels", picture.width, picture.height);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  const std::vector<uint8_t> bytes = encode_png(picture);
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(bytes)));
  file.commit();
}

}  // namespace hp
