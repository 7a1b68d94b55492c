#include "runtime/subgraph.h"

#include "runtime/error.h"
#include "runtime/fitted.h"

namespace hp {

namespace {

void copy_aliases(const Graph& from, const std::vector<Value>& moved, Graph& to) {
  for (const auto& [name, index] : from.names()) {
    const Value value = moved[static_cast<size_t>(index)];
    if (value.index >= 0 && from.node(index).name != name) to.alias(name, value);
  }
}

// Appends a node without its shape, which the ops infer again.
Value append(Graph& graph, const Node& node, const std::vector<Value>& moved) {
  std::vector<Value> inputs;
  inputs.reserve(node.inputs.size());
  for (int input : node.inputs) inputs.push_back(moved[static_cast<size_t>(input)]);
  const auto* sized = dynamic_cast<const FittedOp*>(node.op.get());
  return graph.add(sized ? sized->fitted(graph) : node.op, inputs, node.name);
}

}  // namespace

Graph with_input_shapes(const Graph& graph, std::span<const Shape> shapes) {
  require(shapes.size() == graph.inputs().size(), "[graph] wrong number of input shapes; got {}; expected {}",
          shapes.size(), graph.inputs().size());
  Graph result;
  std::vector<Value> moved;
  size_t input = 0;
  for (const Node& node : graph.nodes()) {
    if (node.kind == OpKind::input) {
      moved.push_back(result.input(node.name, shapes[input++], node.is_nonnegative));
    } else if (node.kind == OpKind::parameter) {
      moved.push_back(result.parameter(node.name, node.shape));
    } else {
      moved.push_back(append(result, node, moved));
    }
  }
  copy_aliases(graph, moved, result);
  return result;
}

Graph subgraph_from(const Graph& graph, int node) {
  const auto count = static_cast<size_t>(graph.size());
  std::vector<bool> behind(count, false), needed(count, false);
  behind[static_cast<size_t>(node)] = true;
  for (int i = node + 1; i < graph.size(); ++i) {
    for (int input : graph.node(i).inputs) {
      if (behind[static_cast<size_t>(input)]) behind[static_cast<size_t>(i)] = true;
    }
  }
  for (int i = graph.size() - 1; i >= 0; --i) {
    const bool is_start = i == node;
    needed[static_cast<size_t>(i)] = needed[static_cast<size_t>(i)] || behind[static_cast<size_t>(i)];
    if (!needed[static_cast<size_t>(i)] || is_start) continue;
    require(graph.node(i).kind != OpKind::input,
            "[graph] the part behind '{}' also reads the input '{}'; expected a node that everything passes through",
            graph.node(node).name, graph.node(i).name);
    for (int input : graph.node(i).inputs) needed[static_cast<size_t>(input)] = true;
  }
  Graph result;
  std::vector<Value> moved(count);
  for (int i = 0; i < graph.size(); ++i) {
    const Node& old = graph.node(i);
    if (!needed[static_cast<size_t>(i)]) continue;
    Value& value = moved[static_cast<size_t>(i)];
    if (i == node) {
      value = result.input(old.name, old.shape, old.kind == OpKind::input && old.is_nonnegative);
    } else if (old.kind == OpKind::parameter) {
      value = result.parameter(old.name, old.shape);
    } else {
      value = append(result, old, moved);
    }
  }
  copy_aliases(graph, moved, result);
  return result;
}

}  // namespace hp
