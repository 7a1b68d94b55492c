#include "tools/data/scenes/texture.h"

namespace hp::scenes {
namespace {

// The offset from the nearest multiple of `period`.
float folded(float t, float period) { return t - period * std::floor(t / period + 0.5F); }

// Signed distances: stripes around the multiples of `period`, `width` wide.
float bands(float t, float period, float width) { return std::abs(folded(t, period)) - 0.5F * width; }

// Inside one of two, not both.
float exclusive(float a, float b) { return std::max(std::min(a, b), -std::max(a, b)); }

// Every second row is moved by half a column.
Point shifted(Point p, float column, float row) {
  const bool odd = std::fmod(std::abs(std::floor(p.y / row + 0.5F)), 2.0F) > 0.5F;
  return {folded(p.x + (odd ? 0.5F * column : 0.0F), column), folded(p.y, row)};
}

float box(Point p, float half_width, float half_height) {
  return std::max(std::abs(p.x) - half_width, std::abs(p.y) - half_height);
}

// z^6's real part changes its sign at twelve rays; over its gradient it is the distance to the next one.
float sectors(Point p) {
  Point power = p;
  for (int i = 1; i < 3; ++i) power = {power.x * p.x - power.y * p.y, power.x * p.y + power.y * p.x};
  const float radius = length(p) + 1e-6F;
  const float real = power.x * power.x - power.y * power.y;
  return real / (6 * radius * radius * radius * radius * radius);
}

uint32_t hashed(int x, int y) {
  uint32_t bits = static_cast<uint32_t>(x) * 0x9E3779B1U ^ static_cast<uint32_t>(y) * 0x85EBCA77U;
  bits = (bits ^ (bits >> 15)) * 0x2C1B3C6DU;
  bits = (bits ^ (bits >> 12)) * 0x297A2D39U;
  return bits ^ (bits >> 15);
}

// A disc of random place and size in each cell of a lattice.
float speckles(Point p) {
  constexpr float cell = 0.34F;
  const float column = std::floor(p.x / cell), row = std::floor(p.y / cell);
  float nearest = 1;
  for (int dy = -1; dy <= 1; ++dy) {
    for (int dx = -1; dx <= 1; ++dx) {
      const float x = column + static_cast<float>(dx), y = row + static_cast<float>(dy);
      const uint32_t bits = hashed(static_cast<int>(x), static_cast<int>(y));
      const auto part = [&](int shift) { return static_cast<float>(bits >> shift & 255U) / 255; };
      const Point centre = {(x + 0.1F + 0.8F * part(0)) * cell, (y + 0.1F + 0.8F * part(8)) * cell};
      nearest = std::min(nearest, length(p - centre) - cell * (0.12F + 0.32F * part(16)));
    }
  }
  return nearest;
}

// A smooth wave of period 1 between -1 and 1.
float wave(float t) {
  const float half = 4 * std::abs(folded(t, 1)) - 1;
  return half * (1.5F - 0.5F * half * half);
}

float signed_distance(Texture texture, Point p) {
  constexpr float period = 0.5F;
  switch (texture) {
    case Texture::checks:
      return exclusive(bands(p.x, 0.8F, 0.4F), bands(p.y, 0.8F, 0.4F));
    case Texture::rings:
      return bands(length(p), 0.44F, 0.22F);
    case Texture::stripes:
      return bands(p.x, period, 0.5F * period);
    case Texture::dots:
      return length(shifted(p, 0.52F, 0.45F)) - 0.15F;
    case Texture::sectors:
      return sectors(p);
    case Texture::halves:
      return p.x;
    case Texture::zigzag:
      return bands(p.y + 0.9F * std::abs(folded(p.x, 0.6F)), period, 0.5F * period);
    case Texture::grid:
      return std::min(bands(p.x, period, 0.14F), bands(p.y, period, 0.14F));
    case Texture::speckles:
      return speckles(p);
    case Texture::bricks: {
      const Point brick = shifted(p, 0.8F, 0.4F);
      return -box(brick, 0.335F, 0.135F);
    }
    case Texture::crosses: {
      const Point cell = shifted(p, 0.6F, 0.56F);
      return std::min(box(cell, 0.2F, 0.07F), box(cell, 0.07F, 0.2F));
    }
    case Texture::circles:
      return std::abs(length(shifted(p, 0.6F, 0.54F)) - 0.19F) - 0.06F;
    case Texture::dashes:
      return box(shifted(p, 0.7F, 0.3F), 0.22F, 0.07F);
    case Texture::scales:
      return std::abs(length(shifted({p.x, p.y}, 0.5F, 0.34F) - Point{0, -0.17F}) - 0.25F) - 0.05F;
    case Texture::triangles: {
      const float a = bands(p.x, 0.7F, 0.35F), b = bands(0.5F * p.x + 0.866F * p.y, 0.7F, 0.35F);
      return exclusive(exclusive(a, b), bands(0.5F * p.x - 0.866F * p.y, 0.7F, 0.35F));
    }
    case Texture::waves:
      return bands(p.y + 0.1F * wave(p.x / 0.8F), 0.42F, 0.2F);
    default:
      return 1;
  }
}

}  // namespace

float pattern(Texture texture, Point p, float pixel) { return coverage(signed_distance(texture, p), pixel); }

}  // namespace hp::scenes
