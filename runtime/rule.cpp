#include "runtime/rule.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

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

bool is_rectified(const Graph& graph, int node) {
  const Node& n = graph.node(node);
  return n.op && n.op->fuses_relu() && n.consumers.size() == 1 && graph.node(n.consumers[0]).kind == OpKind::relu;
}

bool NodeView::nonnegative(int which) const {
  return is_nonnegative(activations.graph(), node().inputs[static_cast<size_t>(which)]);
}

std::vector<Operand> NodeView::kept_inputs() const {
  std::vector<Operand> inputs;
  inputs.reserve(node().inputs.size());
  for (int input : node().inputs) {
    inputs.push_back(activations.kept(input) ? activations.operand(input) : Operand{shape_only(input)});
  }
  return inputs;
}

Tensor NodeView::kept_output() const { return activations.kept(index) ? output() : shape_only(index); }

Tensor NodeView::shape_only(int node) const { return Tensor::without_values(activations.graph().node(node).shape); }

bool NodeView::only_into_relu() const {
  const std::vector<int>& consumers = node().consumers;
  return consumers.size() == 1 && activations.graph().node(consumers[0]).kind == OpKind::relu;
}

Cost Rule::pull_cost(const Graph& graph, int node, int which, int targets) const {
  return vjp_cost(graph, node, which, targets);
}

std::string short_name(const Rule& rule) {
  std::string name = rule.name();
  name = name.substr(0, name.find('('));
  std::ranges::replace(name, ' ', '_');
  return name;
}

std::string VjpRule::objection(const Graph& graph, int node) const {
  if (form_ == Form::multiplier) return {};
  switch (graph.node(node).kind) {
    case OpKind::max_pool:
    case OpKind::max_out:
    case OpKind::concat:
    case OpKind::slice:
    case OpKind::pad:
    case OpKind::reshape:
    case OpKind::patchify:
    case OpKind::prepend:
    case OpKind::add:
    case OpKind::detach:
      return {};
    default:
      return fmt::format(
          "got {}; expected an op that moves values (max_pool, max_out, concat, slice, pad, reshape, patchify, "
          "prepend, add)",
          name_of(graph.node(node).kind));
  }
}

void VjpRule::pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const {
  const std::vector<Operand> inputs = view.kept_inputs();
  view.op().vjp(view.context, {inputs, view.kept_output(), view.saved()}, out.data, out.targets, which, in);
}

Reads VjpRule::reads(const Graph& graph, int node) const {
  return form_ == Form::multiplier ? graph.node(node).op->vjp_reads() : Reads::everything;
}

bool VjpRule::pulls_together(const Graph& graph, int node) const {
  return form_ == Form::multiplier && graph.node(node).op->vjps_together();
}

void VjpRule::pull_together(const NodeView& view, const Message& out, std::span<const Tensor> in) const {
  require(out.targets == 1, "[rule] '{}' has one gradient; got {} targets; expected 1", view.node().name, out.targets);
  const std::vector<Operand> inputs = view.inputs();
  view.op().vjps(view.context, {inputs, view.output(), view.saved()}, out.data, in);
}

bool VjpRule::works_in_place(const Graph& graph, int node) const {
  const OpKind kind = graph.node(node).kind;
  return kind == OpKind::relu || kind == OpKind::add;
}

Composite& Composite::at(std::string pattern, RulePtr rule) {
  patterns_.emplace_back(std::move(pattern), std::move(rule));
  return *this;
}

Composite& Composite::first(std::set<OpKind> kinds, RulePtr rule) {
  first_[std::move(kinds)] = std::move(rule);
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

struct Composite::Found {
  std::vector<std::vector<int>> matches;          // nodes of each pattern, ascending
  std::map<int, const std::set<OpKind>*> firsts;  // first nodes, with the kinds that they are the first of
};

std::vector<Choice> Composite::assign(const Graph& graph) const {
  Found found;
  for (const auto& [pattern, rule] : patterns_) found.matches.push_back(graph.match(pattern));
  for (const auto& [kinds, rule] : first_) {
    // Nodes lie in data-flow order, so the first of its kind that depends on an input is the first that the image
    // meets.
    for (int i = 0; i < graph.size(); ++i) {
      if (!graph.node(i).op || graph.node(i).is_constant || !kinds.contains(graph.node(i).kind)) continue;
      found.firsts.emplace(i, &kinds);
      break;
    }
  }
  std::vector<Choice> choices(static_cast<size_t>(graph.size()));
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    if (!node.op) continue;
    Choice& choice = choices[static_cast<size_t>(i)];
    if (node.is_constant) {  // a walk gets here only for the gradient of a parameter below
      choice = {std::make_shared<VjpRule>(), "constant"};
      continue;
    }
    choice = choose(graph, i, found);
    const std::string objection = choice.rule->objection(graph, i);
    require(objection.empty(),
            "[rule] {} (chosen for its {}) makes no sense at '{}'; {}; or give the node another rule",
            choice.rule->name(), choice.reason, node.name, objection);
  }
  return choices;
}

Choice Composite::choose(const Graph& graph, int node, const Found& found) const {
  for (size_t i = 0; i < patterns_.size(); ++i) {
    const auto& [pattern, rule] = patterns_[i];
    if (!std::binary_search(found.matches[i].begin(), found.matches[i].end(), node)) continue;
    const bool exact = pattern.find_first_of("*?") == std::string::npos;
    if (exact || rule->objection(graph, node).empty()) return {rule, "name " + pattern};
  }
  auto first = found.firsts.find(node);
  if (first != found.firsts.end()) {
    std::string names;
    for (OpKind kind : *first->second) names += (names.empty() ? "" : " or ") + std::string(name_of(kind));
    return {first_.at(*first->second), "first " + names};
  }
  auto kind = kinds_.find(graph.node(node).kind);
  if (kind != kinds_.end()) return {kind->second, fmt::format("kind {}", name_of(graph.node(node).kind))};
  return {default_, "default"};
}

std::vector<bool> unread(const Graph& graph, std::span<const Choice> choices) {
  std::vector<bool> result(choices.size(), false);
  const auto reads = [&](int node, Reads what) {
    const Reads all = choices[static_cast<size_t>(node)].rule->reads(graph, node);
    return all == what || all == Reads::everything;
  };
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    if (!node.op || node.is_constant) continue;
    bool is_read = node.consumers.empty() || reads(i, Reads::output);
    for (const int consumer : node.consumers) {
      const Node& next = graph.node(consumer);
      for (size_t which = 0; which < next.inputs.size(); ++which) {
        if (next.inputs[which] != i) continue;
        is_read = is_read || next.op->role(static_cast<int>(which)) != Role::data || reads(consumer, Reads::inputs);
      }
    }
    result[static_cast<size_t>(i)] = !is_read;
  }
  return result;
}

std::vector<int> Composite::pins(const Graph& graph) const {
  std::vector<int> pins;
  for (int i = 0; preactivations_ && i < graph.size(); ++i) {
    if (graph.node(i).kind == OpKind::relu) pins.push_back(graph.node(i).inputs[0]);
    if (graph.node(i).kind == OpKind::attention_scores) pins.push_back(i);
  }
  return pins;
}

}  // namespace hp
