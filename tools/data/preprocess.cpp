#include "tools/data/preprocess.h"

#include <algorithm>
#include <utility>

#include "runtime/error.h"
#include "tools/data/box.h"
#include "tools/data/mask.h"

namespace hp {
namespace {

Mask apply(const Geometry& geometry, const Mask& mask) {
  require(mask.height == geometry.source_height && mask.width == geometry.source_width,
          "[preprocess] mask of {} x {} for an image of {} x {}", mask.width, mask.height, geometry.source_width,
          geometry.source_height);
  const auto sources = [](int length, int offset, int64_t source, int64_t resized) {
    std::vector<int64_t> list;
    for (int64_t at = offset; at < int64_t{offset} + length; ++at)
      list.push_back(at >= 0 && at < resized ? nearest_source(at, source, resized) : -1);
    return list;
  };
  return gather(mask, sources(geometry.height, geometry.top, mask.height, geometry.resized_height),
                sources(geometry.width, geometry.left, mask.width, geometry.resized_width));
}

}  // namespace

void Preprocess::check() const {
  require(size >= 0 && size <= max_image_side, "[preprocess] size {}; expected 1 to {}", size, max_image_side);
  require(crop >= 0 && crop <= max_image_side, "[preprocess] crop {}; expected 0 (none) to {}", crop, max_image_side);
  require((resize == ResizeMode::none) == (size == 0), "[preprocess] {}",
          size == 0 ? "resizing needs a size" : "a size needs a resize mode (shorter or squash)");
  require(resize == ResizeMode::none || crop <= size, "[preprocess] crop {} is larger than the size {} resized to",
          crop, size);
}

Geometry Preprocess::geometry(int height, int width) const {
  Geometry result = Geometry::identity(height, width);
  if (resize == ResizeMode::shorter) result = result.shorter_side_to(size);
  if (resize == ResizeMode::squash) result = result.squash_to(size);
  return crop > 0 ? result.centre_crop(crop) : result;
}

std::string Preprocess::str() const {
  std::string text = "as it is";
  if (resize != ResizeMode::none) {
    text = fmt::format("{} {} {}", resize == ResizeMode::shorter ? "shorter" : "squash", size,
                       interpolation == Interpolation::bicubic ? "bicubic" : "bilinear");
  }
  return crop > 0 ? fmt::format("{}, crop {}", text, crop) : text;
}

Sample apply(const Preprocess& preprocess, Sample sample) {
  const Geometry geometry = preprocess.geometry(sample.image.height, sample.image.width);
  sample.image = apply(geometry, sample.image, preprocess.interpolation);
  std::vector<Box> boxes;
  for (Box box : sample.boxes) {
    box.x0 = static_cast<float>(geometry.x(box.x0));
    box.x1 = static_cast<float>(geometry.x(box.x1));
    box.y0 = static_cast<float>(geometry.y(box.y0));
    box.y1 = static_cast<float>(geometry.y(box.y1));
    if (clip(box, geometry.height, geometry.width) != Clipped::away) boxes.push_back(box);
  }
  sample.boxes = std::move(boxes);
  for (Mask& mask : sample.masks) mask = apply(geometry, mask);
  sample.geometry = geometry;
  return sample;
}

}  // namespace hp
