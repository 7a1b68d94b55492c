// Global average pooling moved in front of a 1x1 convolution.
#pragma once

#include "runtime/graph.h"

namespace hp {

// mean_hw(W x + b) = W mean_hw(x) + b: the same function of the inputs, at one position instead of height * width of
// them, and the same vector-Jacobian products below the convolution. Every 1x1 convolution that goes nowhere but into a
// global average pool trades places with it; nodes keep their names, though their values now have other shapes. Rules
// that read values between the two (LRP) are another matter: they see one position instead of many.
Graph pool_first(const Graph& graph);

}  // namespace hp
