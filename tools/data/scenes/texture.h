// Textures: two-coloured patterns in the plane, band-limited to the pixels they are drawn with.
#pragma once

#include "tools/data/scenes/plane.h"

namespace hp::scenes {

enum class Texture : uint8_t {
  checks,
  rings,
  stripes,
  dots,
  sectors,
  halves,
  zigzag,
  grid,
  speckles,
  bricks,
  crosses,
  circles,
  dashes,
  scales,
  triangles,
  waves,
  plain,  // of distractors and patches only
};

inline constexpr int class_textures = 16;

// The share of the second colour at p, for pixels of side `pixel`, both in units of an object's radius. A period is
// about half a radius.
float pattern(Texture texture, Point p, float pixel);

}  // namespace hp::scenes
