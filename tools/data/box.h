// Clipping of boxes to a picture.
#pragma once

#include "tools/data/sample.h"

namespace hp {

enum class Clipped { no, partly, away };  // away: nothing of the box is inside (inverted boxes too)

// Cuts the box to [0, width) x [0, height) and says whether that changed it.
Clipped clip(Box& box, int height, int width);

}  // namespace hp
