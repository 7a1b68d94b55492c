// Noise: smooth random fields of several octaves.
#pragma once

#include <vector>

#include "tools/data/scenes/dice.h"

namespace hp::scenes {

// Value noise: random numbers on lattices of `frequency`, 2 frequency, 4 frequency ... cells a side, interpolated
// smoothly, each with half the weight of the one before; finer ones than two pixels a cell are left out. The result
// [size, size] lies in [0, 1].
std::vector<float> noise_field(Dice& dice, int size, int frequency, int octaves);

}  // namespace hp::scenes
