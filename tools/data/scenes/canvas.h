// Canvas: a square picture in the making.
#pragma once

#include <vector>

#include "tools/data/scenes/plane.h"

namespace hp::scenes {

// Pixels of a square scene [0, 1) x [0, 1), row-major.
struct Canvas {
  int size;
  std::vector<Colour> pixels;

  explicit Canvas(int size) : size(size), pixels(static_cast<size_t>(size) * static_cast<size_t>(size)) {}
  float pixel() const { return 1.0F / static_cast<float>(size); }  // the side of one, in the scene
  Colour& at(int x, int y) {
    return pixels[static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(x)];
  }
  // The middle of a pixel, in the scene.
  Point centre(int x, int y) const {
    return {(static_cast<float>(x) + 0.5F) * pixel(), (static_cast<float>(y) + 0.5F) * pixel()};
  }
};

// Calls use(x, y) for every pixel of the canvas whose middle may lie within `reach` of `centre` along both axes.
template <class Use>
void for_pixels_near(const Canvas& canvas, Point centre, Point reach, Use&& use) {
  const auto first = [&](float at) {
    return std::clamp(static_cast<int>(std::floor(at * static_cast<float>(canvas.size))), 0, canvas.size);
  };
  const int left = first(centre.x - reach.x), right = first(centre.x + reach.x + canvas.pixel());
  const int top = first(centre.y - reach.y), bottom = first(centre.y + reach.y + canvas.pixel());
  for (int y = top; y < bottom; ++y) {
    for (int x = left; x < right; ++x) use(x, y);
  }
}

}  // namespace hp::scenes
