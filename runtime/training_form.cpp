#include "runtime/training_form.h"

#include <algorithm>

#include "runtime/ops/conv.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/uncentred_norm.h"

namespace hp {

namespace {

// The inputs that are running statistics, of which the training form has no need; 0 where none are.
size_t statistics_of(const Graph& graph, const Node& node) {
  const size_t count = node.kind == OpKind::uncentred_norm                          ? 1
                       : node.kind == OpKind::batch_norm && node.inputs.size() == 5 ? 2
                                                                                    : 0;
  for (size_t i = 1; i <= count; ++i) {
    if (graph.node(node.inputs[i]).kind != OpKind::parameter) return 0;
  }
  return count;
}

bool is_statistic(const Graph& graph, const Node& reader, int parameter) {
  const size_t count = statistics_of(graph, reader);
  return std::find(reader.inputs.begin() + 1, reader.inputs.begin() + 1 + static_cast<ptrdiff_t>(count), parameter) !=
         reader.inputs.begin() + 1 + static_cast<ptrdiff_t>(count);
}

// The ReLU that is the only reader of a batch norm; -1 if there is none.
int relu_of(const Graph& graph, int norm) {
  const Node& node = graph.node(norm);
  if (node.kind != OpKind::batch_norm || node.consumers.size() != 1) return -1;
  return graph.node(node.consumers[0]).kind == OpKind::relu ? node.consumers[0] : -1;
}

OpPtr in_training(const Op& op, bool relu) {
  if (op.kind() == OpKind::uncentred_norm)
    return std::make_shared<UncentredNormTrainOp>(static_cast<const UncentredNormOp&>(op).epsilon());
  return std::make_shared<BatchNormTrainOp>(static_cast<const BatchNormOp&>(op).epsilon(), relu);
}

// No rule divides by a training step's values. Products of single positions are left to the device, which is good at
// them.
OpPtr fast(const Op& op, const Shape& weight) {
  Conv2dOp::Params params = static_cast<const Conv2dOp&>(op).params();
  params.fast = weight[2] > 1 && weight[3] > 1;
  return std::make_shared<Conv2dOp>(params);
}

// Parameters that nothing reads any more.
std::vector<bool> only_statistics(const Graph& graph) {
  std::vector<bool> result(static_cast<size_t>(graph.size()), false);
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    bool only = node.kind == OpKind::parameter && !node.consumers.empty();
    for (const int consumer : node.consumers) {
      only = only && statistics_of(graph, graph.node(consumer)) > 0 && is_statistic(graph, graph.node(consumer), i);
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
    } else if (const size_t statistics = statistics_of(graph, node); statistics > 0) {
      std::vector<Value> inputs{at(node.inputs[0])};
      for (size_t which = 1 + statistics; which < node.inputs.size(); ++which) inputs.push_back(at(node.inputs[which]));
      value = form.graph.add(in_training(*node.op, relu_of(graph, i) >= 0), inputs, node.name);
      const std::string mean = statistics == 2 ? graph.node(node.inputs[1]).name : "";
      form.norms.push_back({value.index, mean, graph.node(node.inputs[statistics]).name, node.shape.rows()});
    } else if (node.kind == OpKind::relu && statistics_of(graph, graph.node(node.inputs[0])) > 0 &&
               relu_of(graph, node.inputs[0]) == i) {
      value = at(node.inputs[0]);
    } else {
      std::vector<Value> inputs;
      for (const int input : node.inputs) inputs.push_back(at(input));
      const bool convolves = node.kind == OpKind::conv2d;
      value = form.graph.add(convolves ? fast(*node.op, graph.node(node.inputs[1]).shape) : node.op, inputs, node.name);
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
