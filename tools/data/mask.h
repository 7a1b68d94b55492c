// Moving masks along with their pictures, by nearest neighbour.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tools/data/sample.h"

namespace hp {

// The source pixel under the centre of pixel `index` of a side resized from `source` to `target` pixels:
// floor((index + 1/2) source / target), in integers.
int64_t nearest_source(int64_t index, int64_t source, int64_t target);

// The mask whose pixel (y, x) is that of (rows[y], columns[x]) in `mask`; -1 stands for what is not covered.
Mask gather(const Mask& mask, std::span<const int64_t> rows, std::span<const int64_t> columns);

}  // namespace hp
