#include "tools/data/scenes/scene.h"

#include <array>
#include <span>

namespace hp::scenes {
namespace {

// What makes the task hard or easy.
constexpr int most_instances = 3;            // of the class, in single-label mode
constexpr int most_distractors = 2;          // beside them
constexpr int most_labelled = 4;             // objects in multi-label mode
constexpr float large_radius = 0.27F;        // of the first object
constexpr float small_radius = 0.13F;        // of any
constexpr float multi_label_radius = 0.22F;  // of any in multi-label mode
constexpr float borrowed_texture = 0.3F;     // share of distractors with the texture of a class
constexpr float nearest_centres = 0.6F;      // of the radii's sum: bounds the occlusion
constexpr float inside = 0.6F;               // a centre's distance to the border, in radii
constexpr float least_contrast = 0.3F;       // between the two colours of a texture

constexpr std::array<std::string_view, class_shapes> shape_names = {
    "disc",  "square", "triangle", "cross", "ring", "star",  "crescent", "heart",
    "arrow", "flower", "hexagon",  "gear",  "bolt", "house", "drop",     "tee"};
constexpr std::array<std::string_view, class_textures> texture_names = {
    "checked",  "ringed",  "striped", "dotted",  "sectored", "halved", "zigzagged", "gridded",
    "speckled", "bricked", "crossed", "circled", "dashed",   "scaled", "triangled", "waved"};

// The second colour of a texture: of another brightness.
Colour contrasting(Dice& dice, Colour first) {
  const Colour other = random_colour(dice, 0.1F, 0.8F, 0.25F);
  if (std::abs(brightness(other) - brightness(first)) >= least_contrast) return other;
  return brightness(first) > 0.5F ? first * dice.between(0.15F, 0.4F) : mix(first, {1, 1, 1}, dice.between(0.6F, 0.9F));
}

void dress(Figure& figure, Dice& dice) {
  figure.first = random_colour(dice, 0.15F, 0.9F, 0.3F);
  figure.second = contrasting(dice, figure.first);
  figure.turn = dice.turn();
  figure.stretch = dice.between(0.85F, 1.18F);
  // Patterns around the middle stay there; the others begin anywhere.
  const bool centred = figure.texture == Texture::rings || figure.texture == Texture::sectors;
  const float shift = centred || figure.texture == Texture::halves ? 0.08F : 1.0F;
  figure.texture_origin = {dice.between(-shift, shift), dice.between(-shift, shift)};
  figure.texture_turn = dice.turn();
  figure.texture_scale = dice.between(0.85F, 1.15F);
}

Figure object(Dice& dice, int category, float radius) {
  Figure figure{.category = category, .shape = Shape(category), .texture = Texture(category), .radius = radius};
  dress(figure, dice);
  return figure;
}

Figure distractor(Dice& dice) {
  Figure figure{.shape = Shape(class_shapes + dice.below(distractor_shapes)),
                .radius = dice.between(small_radius, 0.8F * large_radius)};
  if (dice.chance(borrowed_texture)) figure.texture = Texture(dice.below(class_textures));
  dress(figure, dice);
  return figure;
}

// Finds a place where nothing is hidden more than a part; false if there is none.
bool place(Figure& figure, std::span<const Figure> others, Dice& dice) {
  constexpr int tries = 12;
  for (int i = 0; i < tries; ++i) {
    const float margin = inside * figure.radius;
    const Point share = dice.point();
    figure.centre = {margin + (1 - 2 * margin) * share.x, margin + (1 - 2 * margin) * share.y};
    const bool free = std::all_of(others.begin(), others.end(), [&](const Figure& other) {
      return length(other.centre - figure.centre) >= nearest_centres * (other.radius + figure.radius);
    });
    if (free) return true;
  }
  return false;
}

// The class of an image: one turn through all of them in random order every `classes` images.
int label_of(int classes, uint64_t seed, std::string_view split, uint64_t number) {
  const auto count = static_cast<uint64_t>(classes);
  const Random random(seed, std::string("scenes label ").append(split), number / count);
  return static_cast<int>(permutation(random, classes)[number % count]);
}

}  // namespace

Scene compose(const Content& content, uint64_t seed, std::string_view split, uint64_t number) {
  Dice dice(seed, std::string("scenes content ").append(split), number);
  const int first = label_of(content.classes, seed, split, number);
  const float largest = content.multi_label ? multi_label_radius : large_radius;
  const int objects = dice.between(1, content.multi_label ? most_labelled : most_instances);
  Scene scene;
  for (int i = 0; i < objects; ++i) {
    const int category = i == 0 || !content.multi_label ? first : dice.below(content.classes);
    const float least = i == 0 ? 0.7F * largest : small_radius;
    Figure figure = object(dice, category, dice.between(least, i == 0 ? largest : 0.9F * largest));
    if (place(figure, scene.figures, dice)) scene.figures.push_back(figure);
  }
  const int distractors = dice.below(std::min(most_distractors, 5 - objects) + 1);
  for (int i = 0; i < distractors; ++i) {
    Figure figure = distractor(dice);
    if (!place(figure, scene.figures, dice)) continue;
    const auto behind = dice.below(static_cast<int>(scene.figures.size()) + 1);
    scene.figures.insert(scene.figures.begin() + behind, figure);
  }
  for (const Figure& figure : scene.figures) {
    if (figure.category >= 0) scene.labels.push_back(figure.category);
  }
  std::sort(scene.labels.begin(), scene.labels.end());
  scene.labels.erase(std::unique(scene.labels.begin(), scene.labels.end()), scene.labels.end());
  scene.light = dice.turn();
  scene.light_strength = dice.between(0.1F, 0.4F);
  return scene;
}

std::string class_name(int category) {
  const auto i = static_cast<size_t>(category);
  return std::string(texture_names[i]).append("-").append(shape_names[i]);
}

Colour random_colour(Dice& dice, float least_saturation, float most_saturation, float least_value) {
  const float hue = dice.between(0.0F, 6.0F);
  const float saturation = dice.between(least_saturation, most_saturation), value = dice.between(least_value, 1.0F);
  const auto channel = [&](float peak) {  // the nearer the hue to the channel's own, the more of it
    const float off = std::min(std::abs(hue - peak), 6 - std::abs(hue - peak));
    return value * (1 - saturation * std::clamp(off - 1, 0.0F, 1.0F));
  };
  return {channel(0), channel(2), channel(4)};
}

}  // namespace hp::scenes
