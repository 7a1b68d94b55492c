// WalkCost: what a forward pass, the preparation of a composite's rules and a walk cost, from shapes alone.
#pragma once

#include "runtime/rule.h"

namespace hp {

struct WalkCost {
  Cost forward;     // one pass through the whole graph
  Cost prepare;     // what the rules compute once per forward pass
  Cost per_target;  // one message from the end of the graph to `to`

  Cost of(int64_t targets) const { return forward + prepare + static_cast<double>(targets) * per_target; }
};

// For a walk that ends at the message of node `to`. Throws as Composite::assign.
WalkCost walk_cost(const Graph& graph, const Composite& composite, int to);

// A node's rule, why it has it, and what it costs; `per_target` is 0 where the walk does not go on below the node.
struct NodeRule {
  int node = -1;
  Choice choice;
  Cost prepare, per_target;
};
// Of every node with a rule, in the order of the graph.
std::vector<NodeRule> node_rules(const Graph& graph, const Composite& composite, int to);

}  // namespace hp
