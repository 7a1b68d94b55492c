#include "runtime/cost.h"

#include <algorithm>

#include "runtime/plan.h"

namespace hp {

namespace {

double bytes_of(const Saved& saved) {
  return saved.none ? 0 : static_cast<double>(saved.shape.count()) * static_cast<double>(size_of(saved.dtype));
}

double flops_of(const Graph& graph, int node) {
  return static_cast<double>(graph.node(node).op->flops(graph.input_shapes(node)));
}

double input_bytes(const Graph& graph, int node) {
  double bytes = 0;
  for (int input : graph.node(node).inputs) bytes += value_bytes(graph, input);
  return bytes;
}

double saved_bytes(const Graph& graph, int node) {
  return bytes_of(graph.node(node).op->saved(graph.input_shapes(node)));
}

// What the adjoint of input `which` reads besides the message: of linear ops the weights, of a product the other
// factor, of all others what the forward pass left.
double adjoint_reads(const Graph& graph, int node, int which) {
  const Node& n = graph.node(node);
  if (!n.op->linear_in(which) && n.op->role(which) == Role::data) {
    const double saved = saved_bytes(graph, node);
    return saved > 0 ? saved : value_bytes(graph, node);
  }
  const Role role = n.op->role(which);
  if (role == Role::bias) return 0;
  double bytes = 0;
  for (int other = 0; other < static_cast<int>(n.inputs.size()); ++other) {
    if (other == which) continue;
    const Role other_role = n.op->role(other);
    const bool factor = role == Role::data ? other_role == Role::weight || other_role == Role::statistics ||
                                                 (other_role == Role::data && n.kind == OpKind::mul)
                                           : other_role == Role::data;
    if (factor) bytes += value_bytes(graph, n.inputs[static_cast<size_t>(other)]);
  }
  return bytes;
}

}  // namespace

double value_bytes(const Graph& graph, int node) {
  return static_cast<double>(graph.node(node).shape.count()) * sizeof(float);
}

Cost forward_cost(const Graph& graph, int node) {
  if (!graph.node(node).op) return {};
  return {flops_of(graph, node), input_bytes(graph, node) + value_bytes(graph, node) + saved_bytes(graph, node)};
}

Cost forward_cost(const Graph& graph) {
  Cost cost;
  for (int i = 0; i < graph.size(); ++i) {
    if (!graph.node(i).is_constant) cost += forward_cost(graph, i);
  }
  return cost;
}

Cost step_cost(const Graph& graph, const Step& step) {
  double bytes = input_bytes(graph, step.node) + value_bytes(graph, step.result) + saved_bytes(graph, step.node);
  if (step.addend >= 0) bytes += value_bytes(graph, step.addend);
  return {flops_of(graph, step.node), bytes};
}

Cost vjp_cost(const Graph& graph, int node, int which, int targets) {
  const Node& n = graph.node(node);
  const Role role = n.op->role(which);
  const bool multiplies = role == Role::data || role == Role::weight;
  const double messages = value_bytes(graph, node) + value_bytes(graph, n.inputs[static_cast<size_t>(which)]);
  return {multiplies ? targets * flops_of(graph, node) : 0, targets * messages + adjoint_reads(graph, node, which)};
}

}  // namespace hp
