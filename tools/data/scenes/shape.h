// Shapes of objects and distractors as signed distances.
#pragma once

#include <span>
#include <string_view>

#include "tools/data/scenes/plane.h"

namespace hp::scenes {

enum class Shape : uint8_t {
  // of classes
  disc,
  square,
  triangle,
  cross,
  ring,
  star,
  crescent,
  heart,
  arrow,
  flower,
  hexagon,
  gear,
  bolt,
  house,
  drop,
  tee,
  // of distractors
  half_disc,
  corner,
  trapezoid,
  capsule,
  zigzag,
  parallelogram,
  bar,
  wedge,
};

inline constexpr int class_shapes = 16, distractor_shapes = 8;

// Distance to the outline in the shape's own units, negative inside; the shape fills the unit disc around 0. Exact near
// the outline of polygons, discs and what they are made of.
float distance(Shape shape, Point p);

}  // namespace hp::scenes
