#include "attribution/walk_cost.h"

namespace hp {

namespace {

// The node `to` and those that depend on it.
std::vector<bool> nodes_above(const Graph& graph, int to) {
  std::vector<bool> above(static_cast<size_t>(graph.size()), false);
  above[static_cast<size_t>(to)] = true;
  for (int i = to + 1; i < graph.size(); ++i) {
    for (int input : graph.node(i).inputs) {
      if (above[static_cast<size_t>(input)]) above[static_cast<size_t>(i)] = true;
    }
  }
  return above;
}

// What a node's rule hands to those of its inputs that the walk goes on to, for messages of one target.
Cost pull_cost(const Graph& graph, const Rule& rule, int node, const std::vector<bool>& wanted) {
  Cost cost;
  const std::vector<int>& inputs = graph.node(node).inputs;
  for (int which = 0; which < static_cast<int>(inputs.size()); ++which) {
    if (!wanted[static_cast<size_t>(inputs[static_cast<size_t>(which)])]) continue;
    cost += rule.pull_cost(graph, node, which, 1);
    if (rule.works_in_place(graph, node)) break;  // the other inputs get the same message
  }
  return cost;
}

}  // namespace

std::vector<NodeRule> node_rules(const Graph& graph, const Composite& composite, int to) {
  const std::vector<Choice> choices = composite.assign(graph);
  const std::vector<bool> above = nodes_above(graph, to);
  std::vector<NodeRule> rules;
  for (int i = 0; i < graph.size(); ++i) {
    const Choice& choice = choices[static_cast<size_t>(i)];
    if (choice.rule)
      rules.push_back({i, choice, choice.rule->prepare_cost(graph, i), pull_cost(graph, *choice.rule, i, above)});
  }
  return rules;
}

WalkCost walk_cost(const Graph& graph, const Composite& composite, int to) {
  WalkCost cost{forward_cost(graph), {}, {}};
  for (const NodeRule& rule : node_rules(graph, composite, to)) {
    cost.prepare += rule.prepare;  // also below `to`: rules are prepared for the whole pass
    cost.per_target += rule.per_target;
  }
  return cost;
}

}  // namespace hp
