// Backdrop: a background full of things that are none of the classes.
#pragma once

#include "tools/data/scenes/canvas.h"
#include "tools/data/scenes/dice.h"

namespace hp::scenes {

// Two regions of multi-octave noise between random colours under a gradient, then blurred and textured patches and
// bundles of lines, the more the higher `clutter` (0 to 1).
void paint_backdrop(Canvas& canvas, Dice& dice, float clutter);

}  // namespace hp::scenes
