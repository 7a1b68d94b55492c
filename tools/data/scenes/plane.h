// Points, turns and colours of the scenes. Only additions, multiplications, divisions and square roots are used, which
// IEEE 754 defines to the last bit, so that a scene is the same on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace hp::scenes {

struct Point {
  float x = 0, y = 0;
};

constexpr Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
constexpr Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
constexpr Point operator*(Point a, float s) { return {a.x * s, a.y * s}; }
constexpr float dot(Point a, Point b) { return a.x * b.x + a.y * b.y; }
inline float length(Point p) { return std::sqrt(dot(p, p)); }

// A rotation: (cos, sin) of its angle.
struct Turn {
  float cosine = 1, sine = 0;
};

constexpr Point turned(Turn turn, Point p) {
  return {turn.cosine * p.x - turn.sine * p.y, turn.sine * p.x + turn.cosine * p.y};
}
constexpr Point turned_back(Turn turn, Point p) {
  return {turn.cosine * p.x + turn.sine * p.y, turn.cosine * p.y - turn.sine * p.x};
}

// The turn by `share` of a full circle, share in [0, 1]: Taylor series within a quarter, to about 1e-9.
constexpr Turn turn_of(double share) {
  const int quarter = static_cast<int>(share * 4);
  const double angle = (share * 4 - quarter) * 1.5707963267948966;
  double cosine = 0, sine = 0, term = 1;  // term: angle^i / i!
  for (int i = 0; i < 16; ++i) {
    const double sign = i % 4 < 2 ? 1 : -1;
    (i % 2 == 0 ? cosine : sine) += sign * term;
    term *= angle / (i + 1);
  }
  const auto c = static_cast<float>(cosine), s = static_cast<float>(sine);
  switch (quarter % 4) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

// RGB, 0 to 1.
struct Colour {
  float red = 0, green = 0, blue = 0;
};

constexpr Colour mix(Colour a, Colour b, float share) {
  return {a.red + (b.red - a.red) * share, a.green + (b.green - a.green) * share, a.blue + (b.blue - a.blue) * share};
}
constexpr Colour operator*(Colour a, float s) { return {a.red * s, a.green * s, a.blue * s}; }
constexpr float brightness(Colour c) { return 0.3F * c.red + 0.59F * c.green + 0.11F * c.blue; }

// How much of a pixel lies inside an edge at signed distance `distance` (negative inside); `width` is the pixel's.
constexpr float coverage(float distance, float width) { return std::clamp(0.5F - distance / width, 0.0F, 1.0F); }

// 0 at 0, 1 at 1, flat at both ends.
constexpr float smooth(float t) { return t * t * (3 - 2 * t); }

}  // namespace hp::scenes
