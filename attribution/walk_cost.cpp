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
    if (!wanted[static_cast<size_t>(inputs[static_cast<size_t>(which)])] || !rule.carries(graph, node, which)) continue;
    cost += rule.pull_cost(graph, node, which, 1);
    if (rule.works_in_place(graph, node)) break;  // the other inputs get the same message
  }
  return cost;
}

// The nodes that a message from the end of the graph arrives at on its way to the nodes `above`.
std::vector<bool> nodes_reached(const Graph& graph, std::span<const Choice> choices, const std::vector<bool>& above) {
  std::vector<bool> reached(static_cast<size_t>(graph.size()), false);
  for (int i = graph.size() - 1; i >= 0; --i) {
    const auto index = static_cast<size_t>(i);
    if (graph.node(i).consumers.empty()) reached[index] = above[index];
    if (!reached[index] || !choices[index].rule) continue;
    const std::vector<int>& inputs = graph.node(i).inputs;
    for (int which = 0; which < static_cast<int>(inputs.size()); ++which) {
      const auto input = static_cast<size_t>(inputs[static_cast<size_t>(which)]);
      if (above[input] && choices[index].rule->carries(graph, i, which)) reached[input] = true;
    }
  }
  return reached;
}

}  // namespace

std::vector<NodeRule> node_rules(const Graph& graph, const Composite& composite, int to) {
  const std::vector<Choice> choices = composite.assign(graph);
  const std::vector<bool> above = nodes_above(graph, to), reached = nodes_reached(graph, choices, above);
  std::vector<NodeRule> rules;
  for (int i = 0; i < graph.size(); ++i) {
    const Choice& choice = choices[static_cast<size_t>(i)];
    if (!choice.rule) continue;
    const bool pulled = reached[static_cast<size_t>(i)];
    rules.push_back(
        {i, choice, choice.rule->prepare_cost(graph, i), pulled ? pull_cost(graph, *choice.rule, i, above) : Cost{}});
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
