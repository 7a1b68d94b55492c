#include "tools/data/scenes/shape.h"

#include <array>

namespace hp::scenes {
namespace {

template <size_t count>
using Polygon = std::array<Point, count>;

// Corners on a circle, their distances to the centre taken from `radii` in turn, from the top on.
template <size_t count, size_t cycle>
constexpr Polygon<count> wheel(const std::array<float, cycle>& radii) {
  Polygon<count> polygon{};
  for (size_t i = 0; i < count; ++i) {
    const Turn turn = turn_of(static_cast<double>(i) / count);
    polygon[i] = Point{turn.sine, -turn.cosine} * radii[i % cycle];
  }
  return polygon;
}

constexpr auto triangle = wheel<3>(std::array{1.0F});
constexpr auto hexagon = wheel<6>(std::array{1.0F});
constexpr auto star = wheel<10>(std::array{1.0F, 0.42F});
constexpr auto gear = wheel<32>(std::array{1.0F, 1.0F, 0.72F, 0.72F});
constexpr Polygon<4> square = {{{-0.78F, -0.78F}, {0.78F, -0.78F}, {0.78F, 0.78F}, {-0.78F, 0.78F}}};
constexpr Polygon<12> cross = {{{-0.32F, -0.95F},
                                {0.32F, -0.95F},
                                {0.32F, -0.32F},
                                {0.95F, -0.32F},
                                {0.95F, 0.32F},
                                {0.32F, 0.32F},
                                {0.32F, 0.95F},
                                {-0.32F, 0.95F},
                                {-0.32F, 0.32F},
                                {-0.95F, 0.32F},
                                {-0.95F, -0.32F},
                                {-0.32F, -0.32F}}};
constexpr Polygon<7> arrow = {
    {{0, -1}, {0.85F, 0.05F}, {0.38F, 0.05F}, {0.38F, 0.9F}, {-0.38F, 0.9F}, {-0.38F, 0.05F}, {-0.85F, 0.05F}}};
constexpr Polygon<6> bolt = {
    {{0.35F, -1}, {-0.65F, 0.15F}, {-0.1F, 0.15F}, {-0.35F, 1}, {0.65F, -0.2F}, {0.1F, -0.2F}}};
constexpr Polygon<5> house = {{{0, -1}, {0.85F, -0.25F}, {0.7F, 0.75F}, {-0.7F, 0.75F}, {-0.85F, -0.25F}}};
constexpr Polygon<8> tee = {{{-0.85F, -0.85F},
                             {0.85F, -0.85F},
                             {0.85F, -0.25F},
                             {0.32F, -0.25F},
                             {0.32F, 0.95F},
                             {-0.32F, 0.95F},
                             {-0.32F, -0.25F},
                             {-0.85F, -0.25F}}};
constexpr Polygon<6> corner = {
    {{-0.7F, -0.8F}, {-0.15F, -0.8F}, {-0.15F, 0.25F}, {0.75F, 0.25F}, {0.75F, 0.8F}, {-0.7F, 0.8F}}};
constexpr Polygon<4> trapezoid = {{{-0.4F, -0.6F}, {0.4F, -0.6F}, {0.85F, 0.5F}, {-0.85F, 0.5F}}};
constexpr Polygon<8> zigzag = {{{-0.9F, -0.7F},
                                {0.25F, -0.7F},
                                {0.25F, 0.2F},
                                {0.9F, 0.2F},
                                {0.9F, 0.7F},
                                {-0.25F, 0.7F},
                                {-0.25F, -0.2F},
                                {-0.9F, -0.2F}}};
constexpr Polygon<4> parallelogram = {{{-0.9F, 0.45F}, {-0.3F, -0.45F}, {0.9F, -0.45F}, {0.3F, 0.45F}}};
constexpr Polygon<4> bar = {{{-0.95F, -0.25F}, {0.95F, -0.25F}, {0.95F, 0.25F}, {-0.95F, 0.25F}}};
constexpr Polygon<4> wedge = {{{-0.9F, -0.3F}, {0.95F, 0}, {-0.9F, 0.3F}, {-0.5F, 0}}};

// The nearest point of any edge; inside by counting crossings of a ray.
template <size_t count>
float polygon(const Polygon<count>& corners, Point p) {
  float nearest = 1e9F;
  bool inside = false;
  for (size_t i = 0, j = count - 1; i < count; j = i++) {
    const Point edge = corners[j] - corners[i], to = p - corners[i];
    const float along = std::clamp(dot(to, edge) / dot(edge, edge), 0.0F, 1.0F);
    const Point off = to - edge * along;
    nearest = std::min(nearest, dot(off, off));
    const bool crosses = (corners[i].y > p.y) != (corners[j].y > p.y);
    if (crosses && (edge.x * to.y - edge.y * to.x > 0) == (edge.y > 0)) inside = !inside;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

float disc(Point p, Point centre, float radius) { return length(p - centre) - radius; }

float heart(Point p) {
  p.x = std::abs(p.x);
  constexpr Polygon<3> tip = {{{0, 0.95F}, {0.852F, -0.022F}, {-0.852F, -0.022F}}};
  return std::min({disc(p, {0.45F, -0.38F}, 0.54F), polygon(tip, p),
                   std::max(std::abs(p.x) - 0.45F, std::abs(p.y + 0.2F) - 0.25F)});
}

float flower(Point p) {
  p = {std::abs(p.x), std::abs(p.y)};
  if (p.y > p.x) std::swap(p.x, p.y);
  return std::min(disc(p, {0.58F, 0}, 0.4F), disc(p, {0, 0}, 0.42F));
}

float drop(Point p) {
  constexpr Polygon<3> tip = {{{0, -1}, {0.504F, 0.09F}, {-0.504F, 0.09F}}};
  return std::min(disc(p, {0, 0.35F}, 0.57F), polygon(tip, p));
}

float capsule(Point p) {
  const float along = std::clamp(p.x, -0.55F, 0.55F);
  return length(p - Point{along, 0}) - 0.4F;
}

}  // namespace

float distance(Shape shape, Point p) {
  switch (shape) {
    case Shape::disc:
      return length(p) - 0.9F;
    case Shape::square:
      return polygon(square, p);
    case Shape::triangle:
      return polygon(triangle, p);
    case Shape::cross:
      return polygon(cross, p);
    case Shape::ring:
      return std::abs(length(p) - 0.72F) - 0.26F;
    case Shape::star:
      return polygon(star, p);
    case Shape::crescent:
      return std::max(disc(p, {0, 0}, 1), -disc(p, {0.52F, 0}, 0.78F));
    case Shape::heart:
      return heart(p);
    case Shape::arrow:
      return polygon(arrow, p);
    case Shape::flower:
      return flower(p);
    case Shape::hexagon:
      return polygon(hexagon, p);
    case Shape::gear:
      return std::max(polygon(gear, p), -disc(p, {0, 0}, 0.25F));
    case Shape::bolt:
      return polygon(bolt, p);
    case Shape::house:
      return polygon(house, p);
    case Shape::drop:
      return drop(p);
    case Shape::tee:
      return polygon(tee, p);
    case Shape::half_disc:
      return std::max(disc(p, {0, -0.4F}, 0.95F), -0.4F - p.y);
    case Shape::corner:
      return polygon(corner, p);
    case Shape::trapezoid:
      return polygon(trapezoid, p);
    case Shape::capsule:
      return capsule(p);
    case Shape::zigzag:
      return polygon(zigzag, p);
    case Shape::parallelogram:
      return polygon(parallelogram, p);
    case Shape::bar:
      return polygon(bar, p);
    default:
      return polygon(wedge, p);
  }
}

}  // namespace hp::scenes
