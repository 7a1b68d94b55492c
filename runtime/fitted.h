// FittedOp: an op that holds a size of the image, such as the grid of its patches, and so belongs to images of one
// size.
#pragma once

#include "runtime/graph.h"

namespace hp {

class FittedOp : public Op {
 public:
  // The same op for the same place in `graph`, which is made for other images and holds the nodes before this one.
  virtual OpPtr fitted(const Graph& graph) const = 0;
};

}  // namespace hp
