#include "runtime/training_form.h"

#include "runtime/ops/norm.h"

namespace hp {

namespace {

bool follows_statistics(const Graph& graph, const Node& node) {
  return node.kind == OpKind::batch_norm && node.inputs.size() == 5 &&
         graph.node(node.inputs[1]).kind == OpKind::parameter && graph.node(node.inputs[2]).kind == OpKind::parameter;
}

// Parameters that nothing reads any more.
std::vector<bool> only_statistics(const Graph& graph) {
  std::vector<bool> result(static_cast<size_t>(graph.size()), false);
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    bool only = node.kind == OpKind::parameter && !node.consumers.empty();
    for (const int consumer : node.consumers) {
      const Node& reader = graph.node(consumer);
      only = only && follows_statistics(graph, reader) && (reader.inputs[1] == i || reader.inputs[2] == i);
    }
    result[static_cast<size_t>(i)] = only;
  }
  return result;
}

}  // namespace

TrainingForm training_form(const Graph& graph) {
  TrainingForm form;
  const std::vector<bool> dropped = only_statistics(graph);
  std::vector<Value> moved(static_cast<size_t>(graph.size()));
  auto at = [&](int node) { return moved[static_cast<size_t>(node)]; };
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    Value& value = moved[static_cast<size_t>(i)];
    if (dropped[static_cast<size_t>(i)]) continue;
    if (node.kind == OpKind::input) {
      value = form.graph.input(node.name, node.shape, node.is_nonnegative);
    } else if (node.kind == OpKind::parameter) {
      value = form.graph.parameter(node.name, node.shape);
    } else if (follows_statistics(graph, node)) {
      const float epsilon = static_cast<const BatchNormOp&>(*node.op).epsilon();
      value = form.graph.add(std::make_shared<BatchNormTrainOp>(epsilon),
                             {at(node.inputs[0]), at(node.inputs[3]), at(node.inputs[4])}, node.name);
      form.norms.push_back(
          {value.index, graph.node(node.inputs[1]).name, graph.node(node.inputs[2]).name, node.shape.rows()});
    } else {
      std::vector<Value> inputs;
      for (const int input : node.inputs) inputs.push_back(at(input));
      value = form.graph.add(node.op, inputs, node.name);
    }
  }
  for (const auto& [name, index] : graph.names()) {
    if (at(index).index >= 0 && !form.graph.contains(name)) form.graph.alias(name, at(index));
  }
  return form;
}

std::vector<int> trained_parameters(const Graph& graph) {
  std::vector<int> trained;
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    if (node.kind != OpKind::parameter) continue;
    bool has_gradient = false;
    for (const int consumer : node.consumers) {
      const Node& reader = graph.node(consumer);
      for (size_t which = 0; which < reader.inputs.size(); ++which) {
        if (reader.inputs[which] != i) continue;
        has_gradient = has_gradient || reader.op->role(static_cast<int>(which)) != Role::statistics;
      }
    }
    if (has_gradient) trained.push_back(i);
  }
  return trained;
}

}  // namespace hp
