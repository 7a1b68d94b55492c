// Graphs made from graphs: the same network for other input shapes, and the part of a network behind a node.
#pragma once

#include <span>

#include "runtime/graph.h"

namespace hp {

// The same nodes, names, aliases and indices with every shape inferred anew from `shapes`, one per input in the order
// of Graph::inputs(). Throws hp::Error, which names the node, if an op does not accept its new inputs.
Graph with_input_shapes(const Graph& graph, std::span<const Shape> shapes);

// What depends on `node`, which becomes an input of its own name and shape, with the parameters that this needs. Names
// and aliases stay. Throws hp::Error if something behind the node also reads an input that does not pass through it.
Graph subgraph_from(const Graph& graph, int node);

}  // namespace hp
