#include "tools/data/scenes/renderer.h"

#include "tools/data/scenes/backdrop.h"

namespace hp::scenes {
namespace {

// Lengths in radii of a figure.
constexpr float shadow_offset = 0.16F, shadow_softness = 0.5F, shadow_depth = 0.45F;
constexpr float rim_width = 0.14F, rim_depth = 0.35F;
constexpr float grain = 0.05F;

constexpr uint8_t nobody = 255;

// Where a figure's own coordinates are.
struct Frame {
  const Figure& figure;
  Point at(Point p) const {
    Point q = turned_back(figure.turn, p - figure.centre) * (1 / figure.radius);
    q.x /= figure.stretch;
    return q;
  }
  // In radii; stretching bends distances, but never moves the outline.
  float distance_to(Point q) const { return distance(figure.shape, q) * std::min(figure.stretch, 1.0F); }
};

void draw_shadow(Canvas& canvas, const Figure& figure, const Scene& scene) {
  const Frame frame{figure};
  const Point offset = Point{scene.light.cosine, scene.light.sine} * (-shadow_offset * figure.radius);
  const float reach = figure.radius * (1.2F + 0.5F * shadow_softness);
  const float depth = shadow_depth * (0.4F + 1.5F * scene.light_strength);
  for_pixels_near(canvas, figure.centre + offset, {reach, reach}, [&](int x, int y) {
    const float away = frame.distance_to(frame.at(canvas.centre(x, y) - offset));
    const float cover = depth * coverage(away, shadow_softness);
    if (cover > 0) canvas.at(x, y) = canvas.at(x, y) * (1 - cover);
  });
}

void draw(Canvas& canvas, const Figure& figure, const Scene& scene, uint8_t index, std::vector<uint8_t>& owners) {
  const Frame frame{figure};
  const float pixel = canvas.pixel() / figure.radius;
  const float reach = figure.radius * std::max(figure.stretch, 1.0F) * 1.05F + canvas.pixel();
  const Point light{scene.light.cosine, scene.light.sine};
  for_pixels_near(canvas, figure.centre, {reach, reach}, [&](int x, int y) {
    const Point p = canvas.centre(x, y), q = frame.at(p);
    const float away = frame.distance_to(q);
    const float cover = coverage(away, pixel);
    if (cover <= 0) return;
    const Point on_texture = turned(figure.texture_turn, q) * figure.texture_scale + figure.texture_origin;
    const float share = pattern(figure.texture, on_texture, pixel * figure.texture_scale);
    const float towards_light = dot(p - figure.centre, light) / figure.radius;
    const float rim = smooth(std::clamp(1 + away / rim_width, 0.0F, 1.0F));
    const float shade = (0.95F + scene.light_strength * towards_light) * (1 - rim_depth * rim);
    canvas.at(x, y) = mix(canvas.at(x, y), mix(figure.first, figure.second, share) * shade, cover);
    if (cover >= 0.5F)
      owners[static_cast<size_t>(y) * static_cast<size_t>(canvas.size) + static_cast<size_t>(x)] = index;
  });
}

// Exposure, colour of the light, and grain; to bytes.
Image developed(const Canvas& canvas, Dice& dice) {
  const float exposure = dice.between(0.7F, 1.15F);
  const Colour cast = {exposure * dice.between(0.88F, 1.12F), exposure * dice.between(0.92F, 1.08F),
                       exposure * dice.between(0.88F, 1.12F)};
  Image image(canvas.size, canvas.size);
  uint8_t* out = image.pixels.data();
  for (const Colour& colour : canvas.pixels) {
    const uint64_t bits = dice.bits();
    const auto tone = [&](float value, int shift) {  // two bytes of noise for each channel: a triangular distribution
      const auto noise = static_cast<float>((bits >> shift & 255U) + (bits >> (shift + 8) & 255U)) / 255 - 1;
      return static_cast<uint8_t>(std::lround(std::clamp(value + grain * noise, 0.0F, 1.0F) * 255));
    };
    *out++ = tone(colour.red * cast.red, 0);
    *out++ = tone(colour.green * cast.green, 16);
    *out++ = tone(colour.blue * cast.blue, 32);
  }
  return image;
}

// The pixels of one owner, and the rectangle around them; false if there are none.
bool outline(const std::vector<uint8_t>& owners, int size, uint8_t index, Mask& mask, Box& box) {
  mask.height = mask.width = size;
  mask.covered.resize(owners.size());
  int left = size, right = 0, top = size, bottom = 0;
  size_t i = 0;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x, ++i) {
      if (owners[i] != index) continue;
      mask.covered[i] = 1;
      left = std::min(left, x), right = std::max(right, x + 1);
      top = std::min(top, y), bottom = std::max(bottom, y + 1);
    }
  }
  box.x0 = static_cast<float>(left), box.x1 = static_cast<float>(right);
  box.y0 = static_cast<float>(top), box.y1 = static_cast<float>(bottom);
  return left < right;
}

}  // namespace

Rendering render(const Scene& scene, int size, float clutter, Dice dice) {
  Canvas canvas(size);
  paint_backdrop(canvas, dice, clutter);
  std::vector<uint8_t> owners(canvas.pixels.size(), nobody);
  for (size_t i = 0; i < scene.figures.size(); ++i) {
    draw_shadow(canvas, scene.figures[i], scene);
    draw(canvas, scene.figures[i], scene, static_cast<uint8_t>(i), owners);
  }
  Rendering result;
  result.image = developed(canvas, dice);
  for (size_t i = 0; i < scene.figures.size(); ++i) {
    const int category = scene.figures[i].category;
    Mask mask{.category = category};
    Box box{.category = category};
    if (category < 0 || !outline(owners, size, static_cast<uint8_t>(i), mask, box)) continue;
    result.masks.push_back(std::move(mask));
    result.boxes.push_back(box);
  }
  return result;
}

}  // namespace hp::scenes
