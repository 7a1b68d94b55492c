// The axes of a block copy in the order that suits memory, for every device's copy_block.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/kernels.h"

namespace hp {

struct MoveAxis {
  int64_t extent, src_stride, dst_stride;
};

// The four axes, outermost first, with those of extent 1 in front and neighbours joined where both sides run on.
// Innermost comes the axis with the smallest steps in dst, before it the one with the smallest steps in src: writes run
// along lines, and a transposition becomes square tiles of these two.
std::array<MoveAxis, 4> ordered_axes(const Block& block);

}  // namespace hp
