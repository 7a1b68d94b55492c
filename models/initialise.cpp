#include "models/initialise.h"

#include <cmath>

#include "runtime/random.h"

namespace hp {

namespace {

Tensor filled(const Shape& shape, float value) {
  return Tensor::host(shape, std::vector<float>(static_cast<size_t>(shape.count()), value));
}

// Of linear layers and of what is added to tokens or put among them.
bool belongs_to_tokens(const Graph& graph, int parameter) {
  for (const int reader : graph.node(parameter).consumers) {
    switch (graph.node(reader).kind) {
      case OpKind::linear:
      case OpKind::rows:
      case OpKind::prepend:
      case OpKind::position_add:
      case OpKind::resize_positions:
        return true;
      default:
        break;
    }
  }
  return false;
}

Tensor normal(const Node& parameter, uint64_t seed, bool tokens) {
  constexpr double token_deviation = 0.02;
  const Shape& shape = parameter.shape;
  const int64_t fan_out = shape.count() / shape[1];
  const double deviation = tokens ? token_deviation : std::sqrt(2.0 / static_cast<double>(fan_out));
  Tensor tensor = Tensor::host(shape);
  const Random random(seed, parameter.name);
  for (int64_t i = 0; i < tensor.count(); ++i) {
    tensor.floats()[i] = static_cast<float>(deviation * random.normal(static_cast<uint64_t>(i)));
  }
  return tensor;
}

// Is this the weight of a batch norm at the end of a residual branch, the first operand of an addition?
bool ends_branch(const Graph& graph, int parameter) {
  for (const int reader : graph.node(parameter).consumers) {
    const Node& norm = graph.node(reader);
    if (norm.kind != OpKind::batch_norm || norm.inputs.size() != 5 || norm.inputs[3] != parameter) continue;
    for (const int next : norm.consumers) {
      if (graph.node(next).kind == OpKind::add && graph.node(next).inputs[0] == reader) return true;
    }
  }
  return false;
}

}  // namespace

void initialise(const Graph& graph, uint64_t seed, bool zero_residual, Parameters& parameters) {
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    if (node.kind != OpKind::parameter || parameters.contains(node.name)) continue;
    if (node.shape.rank() > 1) {
      parameters.set(node.name, normal(node, seed, belongs_to_tokens(graph, i)));
    } else {
      const bool one = node.name.ends_with(".weight") || node.name.ends_with(".running_var");
      parameters.set(node.name, filled(node.shape, one && !(zero_residual && ends_branch(graph, i)) ? 1.0f : 0.0f));
    }
  }
}

}  // namespace hp
