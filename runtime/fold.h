// Folding norms with given statistics into the weights before them: for speed, and as the canonical form of relevance
// propagation.
#pragma once

#include <map>
#include <string>

#include "runtime/graph.h"
#include "runtime/parameters.h"

namespace hp {

// Batch norm: w' = k w, b' = (b - mean) k + beta with k = gamma / sqrt(variance + epsilon) per output channel, computed
// in double (attribution.md B.4).
//
// Uncentred norm of a B-cos layer with B = 2: y = k |u| / n u of the unit filters' u is |u'| / n u' of w' = sgn(k)
// sqrt(|k|) w / |w|, and its explanation |u'| / n w' is that of the two nodes, k |u| / n w / |w| (protocol.md 1.2).
struct Folded {
  Graph graph;            // the norm's name is an alias of the merged node
  Parameters parameters;  // host tensors under their old names; the merged bias is "<node>.bias"
  // Merged nodes by name, with the name of their bias: the value before the batch norm was (y - bias) / k.
  std::map<std::string, std::string> bias_of;
};

// Folds every batch norm whose input is a conv2d or linear that nothing else reads, and every uncentred norm whose
// input is such a B-cos layer; others stay. Host parameters.
Folded fold_norms(const Graph& graph, const Parameters& parameters);

// The same tensors on the device of `kernels` (shared where they are there already).
Parameters on_device(const Parameters& parameters, Kernels& kernels);

}  // namespace hp
