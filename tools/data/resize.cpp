#include "tools/data/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/error.h"

namespace hp {
namespace {

// A weight is an integer of 1/2^22: 32 bits less 8 for the pixel and 2 for sign and overshoot.
constexpr int weight_bits = 32 - 8 - 2;

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

// Keys' kernel, in Horner form (the order of operations decides the last bit of a weight).
double keys_cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// One result pixel is the weighted sum of `count` source pixels from `begin` on; its weights start at
// `weights[offset]`.
struct Window {
  int begin, count;
  size_t offset;
};

struct Windows {
  std::vector<Window> windows;
  std::vector<int> weights;
};

Windows make_windows(int source, int target, Interpolation interpolation) {
  const bool cubic = interpolation == Interpolation::bicubic;
  const double scale = static_cast<double>(source) / target;
  const double widening = std::max(scale, 1.0);
  const double support = (cubic ? 2.0 : 1.0) * widening;
  const double narrowing = 1.0 / widening;
  Windows result;
  std::vector<double> exact;
  for (int i = 0; i < target; ++i) {
    const double centre = (i + 0.5) * scale;
    const int begin = std::max(static_cast<int>(std::floor(centre - support + 0.5)), 0);
    const int end = std::min(static_cast<int>(std::floor(centre + support + 0.5)), source);
    exact.clear();
    double sum = 0.0;
    for (int j = begin; j < end; ++j) {
      const double at = (j - centre + 0.5) * narrowing;
      exact.push_back(cubic ? keys_cubic(at) : triangle(at));
      sum += exact.back();
    }
    result.windows.push_back({begin, end - begin, result.weights.size()});
    for (double weight : exact) {
      if (sum != 0.0) weight /= sum;
      result.weights.push_back(static_cast<int>(std::trunc(weight * (1 << weight_bits) + (weight < 0.0 ? -0.5 : 0.5))));
    }
  }
  return result;
}

uint8_t to_byte(int sum) { return static_cast<uint8_t>(std::clamp(sum >> weight_bits, 0, 255)); }

constexpr int half = 1 << (weight_bits - 1);

Image resize_rows(const Image& image, int width, Interpolation interpolation) {
  const Windows plan = make_windows(image.width, width, interpolation);
  Image result(image.height, width);
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* source = image.row(y);
    uint8_t* out = result.row(y);
    for (const Window& window : plan.windows) {
      int red = half, green = half, blue = half;
      const uint8_t* in = source + static_cast<ptrdiff_t>(window.begin) * 3;
      const int* weights = &plan.weights[window.offset];
      for (int j = 0; j < window.count; ++j, in += 3) {
        red += in[0] * weights[j];
        green += in[1] * weights[j];
        blue += in[2] * weights[j];
      }
      *out++ = to_byte(red);
      *out++ = to_byte(green);
      *out++ = to_byte(blue);
    }
  }
  return result;
}

Image resize_columns(const Image& image, int height, Interpolation interpolation) {
  const Windows plan = make_windows(image.height, height, interpolation);
  Image result(height, image.width);
  std::vector<int> sums(static_cast<size_t>(image.width) * 3);
  for (int y = 0; y < height; ++y) {
    const Window& window = plan.windows[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), half);
    for (int j = 0; j < window.count; ++j) {
      const uint8_t* in = image.row(window.begin + j);
      const int weight = plan.weights[window.offset + static_cast<size_t>(j)];
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += in[i] * weight;
    }
    std::transform(sums.begin(), sums.end(), result.row(y), to_byte);
  }
  return result;
}

// The first index of a central part: half the surplus, rounded half to even; where the part is larger, minus the
// padding before.
int centre_offset(int side, int part) {
  if (side < part) return -((part - side) / 2);
  const int surplus = side - part;
  return surplus / 2 + (surplus % 4 == 3 ? 1 : 0);
}

}  // namespace

Image resize(const Image& image, int height, int width, Interpolation interpolation) {
  require(image.height > 0 && image.width > 0, "[resize] the image is empty");
  Image result = width == image.width ? image : resize_rows(image, width, interpolation);
  return height == image.height ? result : resize_columns(result, height, interpolation);
}

Image crop(const Image& image, int top, int left, int height, int width) {
  Image result(height, width);
  const int from = std::clamp(left, 0, image.width);
  const int64_t until = std::clamp<int64_t>(int64_t{left} + width, from, image.width);
  for (int y = 0; y < height; ++y) {
    const int64_t source_y = int64_t{top} + y;
    if (source_y < 0 || source_y >= image.height || from == until) continue;
    std::copy_n(image.row(static_cast<int>(source_y)) + static_cast<ptrdiff_t>(from) * 3, (until - from) * 3,
                result.row(y) + (static_cast<ptrdiff_t>(from) - left) * 3);
  }
  return result;
}

Geometry Geometry::identity(int height, int width) {
  return {.source_height = height,
          .source_width = width,
          .resized_height = height,
          .resized_width = width,
          .top = 0,
          .left = 0,
          .height = height,
          .width = width};
}

Geometry Geometry::shorter_side_to(int size) const {
  const int shorter = std::min(source_height, source_width);
  const int64_t longer = int64_t{size} * std::max(source_height, source_width) / shorter;
  require(longer <= max_image_side && longer * size <= max_image_area,
          "[resize] shorter side {} of a {} x {} image makes the longer one {}; expected at most {} pixels", size,
          source_width, source_height, longer, max_image_area);
  const bool wide = source_width > source_height;
  const int other = static_cast<int>(longer);
  Geometry result = identity(source_height, source_width);
  result.height = result.resized_height = wide ? size : other;
  result.width = result.resized_width = wide ? other : size;
  return result;
}

Geometry Geometry::squash_to(int size) const {
  Geometry result = identity(source_height, source_width);
  result.height = result.resized_height = size;
  result.width = result.resized_width = size;
  return result;
}

Geometry Geometry::centre_crop(int size) const {
  Geometry result = *this;
  result.top += centre_offset(height, size);
  result.left += centre_offset(width, size);
  result.height = result.width = size;
  return result;
}

Image apply(const Geometry& geometry, const Image& image, Interpolation interpolation) {
  require(image.height == geometry.source_height && image.width == geometry.source_width,
          "[resize] geometry made for {} x {} applied to {} x {}", geometry.source_width, geometry.source_height,
          image.width, image.height);
  Image resized = resize(image, geometry.resized_height, geometry.resized_width, interpolation);
  if (geometry.height == resized.height && geometry.width == resized.width && geometry.top == 0 && geometry.left == 0) {
    return resized;
  }
  return crop(resized, geometry.top, geometry.left, geometry.height, geometry.width);
}

}  // namespace hp
