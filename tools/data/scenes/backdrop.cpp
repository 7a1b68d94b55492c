#include "tools/data/scenes/backdrop.h"

#include "tools/data/scenes/noise.h"
#include "tools/data/scenes/scene.h"

namespace hp::scenes {
namespace {

constexpr float most_patches = 12, most_bundles = 6;  // at clutter 1
constexpr float textured_patch = 0.35F;               // share of patches that carry a pattern

Colour muted_colour(Dice& dice) { return random_colour(dice, 0.05F, 0.55F, 0.15F); }

void paint_ground(Canvas& canvas, Dice& dice) {
  const std::vector<float> coarse = noise_field(dice, canvas.size, dice.between(2, 4), 2);
  const std::vector<float> fine = noise_field(dice, canvas.size, dice.between(3, 9), 5);
  const Colour low[2] = {muted_colour(dice), muted_colour(dice)}, high[2] = {muted_colour(dice), muted_colour(dice)};
  const float contrast = dice.between(0.4F, 1.2F);
  const Turn slope = dice.turn(), horizon = dice.turn();
  const float fall = dice.between(0.0F, 0.5F), level = dice.between(-0.3F, 0.3F);
  const float wobble = dice.between(0.0F, 0.5F), softness = dice.between(0.01F, 0.3F);
  const bool divided = dice.chance(0.6F);
  for (int y = 0; y < canvas.size; ++y) {
    for (int x = 0; x < canvas.size; ++x) {
      const size_t i = static_cast<size_t>(y) * static_cast<size_t>(canvas.size) + static_cast<size_t>(x);
      const Point p = canvas.centre(x, y) - Point{0.5F, 0.5F};
      const float side = turned_back(horizon, p).y - level + wobble * (coarse[i] - 0.5F);
      const float share = divided ? coverage(side, softness) : coarse[i];
      const float height = std::clamp(0.5F + contrast * (fine[i] - 0.5F) * 2, 0.0F, 1.0F);
      const Colour ground = mix(mix(low[0], low[1], share), mix(high[0], high[1], share), height);
      canvas.at(x, y) = ground * (1 + fall * turned_back(slope, p).x);
    }
  }
}

void paint_patch(Canvas& canvas, Dice& dice) {
  const auto shape = Shape(dice.chance(0.5F) ? class_shapes + dice.below(distractor_shapes) : 0);
  const Point centre = dice.point();
  const float radius = dice.between(0.04F, 0.25F), stretch = dice.between(0.5F, 1.0F);
  const Turn turn = dice.turn();
  const Colour first = muted_colour(dice), other = muted_colour(dice);
  const Colour second = mix(first, other, dice.between(0.2F, 0.7F));
  const float alpha = dice.between(0.4F, 0.95F);
  const float width = std::max(canvas.pixel() / (radius * stretch), dice.between(0.02F, 0.8F));
  const auto texture = dice.chance(textured_patch) ? Texture(dice.below(class_textures)) : Texture::plain;
  const float scale = dice.between(0.6F, 1.2F) * radius / 0.18F;  // periods as long as those of objects
  const float reach = radius * (1.05F + 0.5F * width);
  for_pixels_near(canvas, centre, {reach, reach}, [&](int x, int y) {
    Point p = turned_back(turn, canvas.centre(x, y) - centre) * (1 / radius);
    const Point q = p;
    p.x /= stretch;
    const float cover = alpha * coverage(distance(shape, p) * stretch, width);
    if (cover <= 0) return;
    const float share = texture == Texture::plain ? 0 : pattern(texture, q * scale, scale * canvas.pixel() / radius);
    canvas.at(x, y) = mix(canvas.at(x, y), mix(first, second, share), cover);
  });
}

// Parallel lines, one to five: branches, cables, fences.
void paint_bundle(Canvas& canvas, Dice& dice) {
  const Turn turn = dice.turn();
  const Point centre = dice.point();
  const int lines = dice.chance(0.5F) ? 1 : dice.between(2, 5);
  const float half_length = dice.between(0.15F, 0.7F), thickness = dice.between(0.006F, 0.03F);
  const float gap = thickness * dice.between(2.0F, 5.0F), bend = dice.between(-0.6F, 0.6F);
  const Colour colour = random_colour(dice, 0.0F, 0.7F, 0.05F);
  const float alpha = dice.between(0.5F, 1.0F);
  const float outermost = 0.5F * gap * static_cast<float>(lines - 1);
  const float reach = half_length + outermost + thickness + std::abs(bend) * half_length * half_length;
  for_pixels_near(canvas, centre, {reach, reach}, [&](int x, int y) {
    Point p = turned_back(turn, canvas.centre(x, y) - centre);
    p.y += bend * p.x * p.x;
    const float line = std::clamp(std::floor((p.y + outermost) / gap + 0.5F), 0.0F, static_cast<float>(lines - 1));
    const float across = std::abs(p.y + outermost - line * gap) - 0.5F * thickness;
    const float cover = alpha * coverage(std::max(across, std::abs(p.x) - half_length), canvas.pixel());
    if (cover > 0) canvas.at(x, y) = mix(canvas.at(x, y), colour, cover);
  });
}

}  // namespace

void paint_backdrop(Canvas& canvas, Dice& dice, float clutter) {
  paint_ground(canvas, dice);
  const auto count = [&](float most) {
    return static_cast<int>(std::lround(clutter * most * dice.between(0.5F, 1.0F)));
  };
  const int patches = count(most_patches), bundles = count(most_bundles);
  for (int i = 0; i < patches; ++i) paint_patch(canvas, dice);
  for (int i = 0; i < bundles; ++i) paint_bundle(canvas, dice);
}

}  // namespace hp::scenes
