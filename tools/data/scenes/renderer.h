// Renderer: draws a scene with the exact visible part of every object.
#pragma once

#include "tools/data/sample.h"
#include "tools/data/scenes/scene.h"

namespace hp::scenes {

struct Rendering {
  Image image;              // size x size
  std::vector<Mask> masks;  // one for each object of a class of which a pixel is seen, from back to front
  std::vector<Box> boxes;   // of the masks, as tight as they can be
};

// Backdrop, then each figure with a shadow, shading and its texture, then exposure and grain. A pixel belongs to the
// frontmost figure that covers at least half of it. `dice` decides about everything but the figures.
Rendering render(const Scene& scene, int size, float clutter, Dice dice);

}  // namespace hp::scenes
