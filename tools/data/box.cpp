#include "tools/data/box.h"

#include <algorithm>

namespace hp {

Clipped clip(Box& box, int height, int width) {
  const Box before = box;
  box.x0 = std::max(box.x0, 0.0F);
  box.y0 = std::max(box.y0, 0.0F);
  box.x1 = std::min(box.x1, static_cast<float>(width));
  box.y1 = std::min(box.y1, static_cast<float>(height));
  if (!(box.x0 < box.x1 && box.y0 < box.y1)) return Clipped::away;
  return box == before ? Clipped::no : Clipped::partly;
}

}  // namespace hp
