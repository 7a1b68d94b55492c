// Folding batch norm into the convolution or linear op before it: for speed, and as the canonical form of relevance
// propagation.
#pragma once

#include <map>
#include <string>

#include "runtime/graph.h"
#include "runtime/parameters.h"

namespace hp {

// w' = k w, b' = (b - mean) k + beta with k = gamma / sqrt(variance + epsilon) per output channel, computed in double
// (attribution.md B.4).
struct Folded {
  Graph graph;            // the batch norm's name is an alias of the merged node
  Parameters parameters;  // host tensors under their old names; the merged bias is "<node>.bias"
  // Merged nodes by name, with the name of their bias: the value before the batch norm was (y - bias) / k.
  std::map<std::string, std::string> bias_of;
};

// Folds every batch norm (given statistics) whose input is a conv2d or linear that nothing else reads; others stay.
// Host parameters.
Folded fold_batch_norm(const Graph& graph, const Parameters& parameters);

// The same tensors on the device of `kernels` (shared where they are there already).
Parameters on_device(const Parameters& parameters, Kernels& kernels);

}  // namespace hp
