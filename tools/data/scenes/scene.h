// Scene: what one image of the procedural data set shows, before it is drawn at any size.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/data/scenes/dice.h"
#include "tools/data/scenes/shape.h"
#include "tools/data/scenes/texture.h"

namespace hp::scenes {

inline constexpr int min_classes = 2, max_classes = class_shapes;

struct Content {
  int classes = 10;          // min_classes to max_classes
  bool multi_label = false;  // several classes in one image, else several instances of one
};

// An object of a class, or a distractor that belongs to none. Lengths are shares of the image's side.
struct Figure {
  int category = -1;  // -1: distractor
  Shape shape = Shape::disc;
  Texture texture = Texture::plain;
  Point centre{};
  float radius = 0.2F;
  float stretch = 1;  // of the shape's x axis, before it is turned
  Turn turn{};
  Turn texture_turn{};
  Point texture_origin{};
  float texture_scale = 1;
  Colour first{}, second{};
};

struct Scene {
  std::vector<Figure> figures;  // from back to front: at most 5, distractors counted
  std::vector<int> labels;      // classes of the figures, ascending
  Turn light;                   // from where it comes
  float light_strength = 0;
};

// Image `number` of a split. Labels go round: every `classes` images in a row show each class once (single-label).
// Nothing but the arguments decides.
Scene compose(const Content& content, uint64_t seed, std::string_view split, uint64_t number);

// "checked-disc": by shape and texture.
std::string class_name(int category);

// A colour of random hue.
Colour random_colour(Dice& dice, float least_saturation, float most_saturation, float least_value);

}  // namespace hp::scenes
