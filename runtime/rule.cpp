#include "runtime/rule.h"

#include "runtime/error.h"

namespace hp {

namespace {

// Is a value >= 0 for every image? Follows the graph upwards through ops that keep the sign.
bool is_nonnegative(const Graph& graph, int node) {
  const Node& n = graph.node(node);
  if (!n.op) return n.is_nonnegative;
  if (n.op->nonnegative(false)) return true;
  if (!n.op->nonnegative(true)) return false;
  for (int input : n.inputs) {
    if (!is_nonnegative(graph, input)) return false;
  }
  return true;
}

}  // namespace

bool NodeView::nonnegative(int which) const {
  return is_nonnegative(activations.graph(), node().inputs[static_cast<size_t>(which)]);
}

bool NodeView::only_into_relu() const {
  const std::vector<int>& consumers = node().consumers;
  return consumers.size() == 1 && activations.graph().node(consumers[0]).kind == OpKind::relu;
}

void VjpRule::check(const Graph& graph, int node) const {
  if (form_ == Form::multiplier) return;
  switch (graph.node(node).kind) {
    case OpKind::max_pool:
    case OpKind::concat:
    case OpKind::slice:
    case OpKind::pad:
    case OpKind::reshape:
    case OpKind::add:
      return;
    default:
      fail(
          "[rule] the vector-Jacobian product on relevance is not meaningful at '{}'; got {}; expected an op that "
          "moves values: give "
          "the node a rule of its own",
          graph.node(node).name, name_of(graph.node(node).kind));
  }
}

void VjpRule::pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const {
  const std::vector<Operand> inputs = view.inputs();
  view.op().vjp(view.context, {inputs, view.output(), view.saved()}, out.data, out.targets, which, in);
}

Composite& Composite::at(std::string pattern, RulePtr rule) {
  patterns_.emplace_back(std::move(pattern), std::move(rule));
  return *this;
}

Composite& Composite::first(OpKind kind, RulePtr rule) {
  first_[kind] = std::move(rule);
  return *this;
}

Composite& Composite::on(OpKind kind, RulePtr rule) {
  kinds_[kind] = std::move(rule);
  return *this;
}

Composite& Composite::otherwise(RulePtr rule) {
  default_ = std::move(rule);
  return *this;
}

Composite Composite::without_first() const {
  Composite copy = *this;
  copy.first_.clear();
  return copy;
}

Composite& Composite::reads_preactivations() {
  preactivations_ = true;
  return *this;
}

std::vector<Choice> Composite::assign(const Graph& graph) const {
  // Nodes lie in data-flow order, so the first of its kind that depends on an input is the first that the image meets.
  std::map<OpKind, int> firsts;
  std::vector<Choice> choices(static_cast<size_t>(graph.size()));
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    if (!node.op || node.is_constant) continue;
    firsts.emplace(node.kind, i);
    choices[static_cast<size_t>(i)] = choose(graph, i, firsts);
    choices[static_cast<size_t>(i)].rule->check(graph, i);
  }
  return choices;
}

Choice Composite::choose(const Graph& graph, int node, const std::map<OpKind, int>& firsts) const {
  const Node& n = graph.node(node);
  for (const auto& [pattern, rule] : patterns_) {
    if (glob(pattern, n.name)) return {rule, "name " + pattern};
  }
  auto first = first_.find(n.kind);
  if (first != first_.end() && firsts.at(n.kind) == node)
    return {first->second, fmt::format("first {}", name_of(n.kind))};
  auto kind = kinds_.find(n.kind);
  if (kind != kinds_.end()) return {kind->second, fmt::format("kind {}", name_of(n.kind))};
  return {default_, "default"};
}

std::vector<int> Composite::pins(const Graph& graph) const {
  std::vector<int> pins;
  for (int i = 0; preactivations_ && i < graph.size(); ++i) {
    if (graph.node(i).kind == OpKind::relu) pins.push_back(graph.node(i).inputs[0]);
  }
  return pins;
}

}  // namespace hp
