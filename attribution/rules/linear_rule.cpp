#include "attribution/rules/linear_rule.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp::rules {

std::string LinearRule::objection(const Graph& graph, int index) const {
  const Node& node = graph.node(index);
  bool linear = true, has_weight = false, has_statistics = false, has_parameters = false;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Role role = node.op->role(static_cast<int>(i));
    if (role == Role::data) linear = linear && node.op->linear_in(static_cast<int>(i));
    has_weight = has_weight || role == Role::weight;
    has_statistics = has_statistics || role == Role::statistics;
    has_parameters = has_parameters || role != Role::data;
  }
  if (!linear) return fmt::format("got {}; expected an op that is linear in its data", name_of(node.kind));
  if (needs() == Needs::weight && (!has_weight || has_statistics))
    return fmt::format("got {}; expected an op with a weight (conv2d, linear), norm fits others", name_of(node.kind));
  if (needs() == Needs::parameters && !has_parameters)
    return fmt::format("got {}; expected an op with parameters, norm fits others", name_of(node.kind));
  return {};
}

std::string LinearRule::named(const std::string& name, const std::string& arguments) const {
  std::string inside = arguments;
  if (options_.zero_bias) inside += inside.empty() ? "zero bias" : ", zero bias";
  return inside.empty() ? name : name + "(" + inside + ")";
}

int LinearRule::prepared_count(const LinearFacts& facts) const {
  int count = 0;
  for (const AdjointTerm& term : adjoints(facts)) count = std::max(count, term.ratio + 1);
  return count;
}

std::vector<Shape> LinearRule::prepared_shapes(const NodeView& view) const {
  require(options_.form == Form::multiplier || !view.activations.is_after_relu(view.index),
          "[rule] {} on relevance needs the value of '{}' before its ReLU; got the value behind it; expected a pinned "
          "node: Composite::reads_preactivations and Composite::pins",
          name(), view.node().name);
  const int count = prepared_count(facts_of(LinearNode(view)));
  return std::vector<Shape>(static_cast<size_t>(count), view.output().shape());
}

void LinearRule::prepare(const NodeView& view, std::span<Tensor> prepared) const {
  LinearNode node(view);
  make_ratios(node, prepared);
}

void LinearRule::pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
                      Tensor in) const {
  require(view.op().linear_in(which), "[rule] {} carries no relevance to input {} of '{}'; expected its data", name(),
          which, view.node().name);
  LinearNode node(view);
  Kernels& kernels = node.kernels();
  const Tensor x = view.input(which).tensor;
  Tensor message;
  int ratio = AdjointTerm::no_ratio - 1;
  bool first = true;
  for (const AdjointTerm& term : adjoints(facts_of(node))) {
    if (term.ratio != ratio) {
      ratio = term.ratio;
      message = ratio == AdjointTerm::no_ratio ? out.data : node.scratch(out.data.shape());
      if (ratio != AdjointTerm::no_ratio) weigh(node, prepared, ratio, out.data, message);
    }
    if (first && term.data == Gate::all) {
      node.adjoint(message, out.targets, which, term.weight, in);
    } else {
      const Tensor part = node.scratch(in.shape());
      node.adjoint(message, out.targets, which, term.weight, part);
      kernels.add_gated(term.data, x.count(), out.targets, x.floats(), part.floats(), first ? 0 : 1, in.floats());
    }
    first = false;
  }
  if (options_.form == Form::relevance && gives_multiple_of_input())
    kernels.combine(Binary::multiply, in.count(), x.count(), in.floats(), x.floats(), in.floats());
}

// As facts_of(), for a node that nobody pinned.
LinearFacts LinearRule::facts(const Graph& graph, int index) const {
  const Node& node = graph.node(index);
  LinearFacts facts{true, options_.form == Form::multiplier && is_rectified(graph, index)};
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.op->role(static_cast<int>(i)) == Role::data)
      facts.nonnegative = facts.nonnegative && is_nonnegative(graph, node.inputs[i]);
  }
  return facts;
}

Cost LinearRule::prepare_cost(const Graph& graph, int node) const {
  const LinearFacts known = facts(graph, node);
  // A ratio reads numerator and denominator.
  const Cost made{0, 3.0 * prepared_count(known) * value_bytes(graph, node)};
  return forward_runs(known) * forward_cost(graph, node) + made;
}

Cost LinearRule::pull_cost(const Graph& graph, int node, int which, int targets) const {
  const double output = value_bytes(graph, node);
  const double input = value_bytes(graph, graph.node(node).inputs[static_cast<size_t>(which)]);
  Cost cost;
  int ratio = AdjointTerm::no_ratio - 1;
  bool first = true;
  for (const AdjointTerm& term : adjoints(facts(graph, node))) {
    cost += vjp_cost(graph, node, which, targets);
    if (term.ratio != ratio && term.ratio != AdjointTerm::no_ratio) cost.bytes += (2.0 * targets + 1) * output;
    if (!first || term.data != Gate::all) cost.bytes += (3.0 * targets + 1) * input;
    ratio = term.ratio;
    first = false;
  }
  return cost;
}

const float* LinearRule::numerator(const LinearNode& node) const {
  return options_.form == Form::multiplier ? node.output().floats() : nullptr;
}

void LinearRule::stabilised(const LinearNode& node, const Tensor& denominator, Tensor ratio) const {
  node.kernels().stabilised_ratio(ratio.count(), denominator.count(), options_.stabiliser, numerator(node),
                                  denominator.floats(), ratio.floats());
}

void LinearRule::weigh(const LinearNode& node, std::span<const Tensor> prepared, int ratio, const Tensor& message,
                       Tensor into) const {
  const Tensor& factor = prepared[static_cast<size_t>(ratio)];
  node.kernels().combine(Binary::multiply, message.count(), factor.count(), message.floats(), factor.floats(),
                         into.floats());
}

LinearFacts facts_of(const LinearNode& node) {
  return {node.nonnegative(), node.view().activations.is_after_relu(node.view().index)};
}

}  // namespace hp::rules
