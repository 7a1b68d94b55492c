// Dice: the random numbers of one image, one after the other, from a counter. At most one throw among the arguments of
// a call: compilers evaluate these in orders of their own.
#pragma once

#include <string_view>

#include "runtime/random.h"
#include "tools/data/scenes/plane.h"

namespace hp::scenes {

class Dice {
 public:
  Dice(uint64_t seed, std::string_view stream, uint64_t number) : random_(seed, stream, number) {}

  uint64_t bits() { return random_.bits(next_++); }
  float uniform() { return static_cast<float>(random_.bits(next_++) >> 40) * 0x1p-24F; }  // in [0, 1)
  float between(float low, float high) { return low + (high - low) * uniform(); }
  int below(int n) { return static_cast<int>(random_.below(next_++, n)); }
  int between(int low, int high) { return low + below(high - low + 1); }  // high included
  bool chance(float probability) { return uniform() < probability; }
  Turn turn() { return turn_of(static_cast<double>(uniform())); }
  Point point() {
    const float x = uniform();
    return {x, uniform()};
  }

 private:
  Random random_;
  uint64_t next_ = 0;
};

}  // namespace hp::scenes
