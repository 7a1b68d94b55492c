#include "tools/inspect/relevance.h"

#include <algorithm>
#include <cmath>

#include "attribution/conservation.h"
#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {

namespace {

// Nodes that a message passes on its way from node `from` to node `to`, both included, in the order of the walk.
std::vector<int> nodes_between(const Graph& graph, std::span<const Choice> choices, int from, int to) {
  const auto count = static_cast<size_t>(graph.size());
  std::vector<bool> above(count, false), below(count, false);
  above[static_cast<size_t>(to)] = true;
  for (int i = to; i < graph.size(); ++i) {
    for (int input : graph.node(i).inputs)
      above[static_cast<size_t>(i)] = above[static_cast<size_t>(i)] || above[static_cast<size_t>(input)];
  }
  below[static_cast<size_t>(from)] = true;
  std::vector<int> nodes;
  for (int i = from; i >= to; --i) {
    if (!below[static_cast<size_t>(i)] || !above[static_cast<size_t>(i)]) continue;
    nodes.push_back(i);
    const RulePtr& rule = choices[static_cast<size_t>(i)].rule;
    const std::vector<int>& inputs = graph.node(i).inputs;
    for (int which = 0; rule && which < static_cast<int>(inputs.size()); ++which) {
      if (rule->carries(graph, i, which)) below[static_cast<size_t>(inputs[static_cast<size_t>(which)])] = true;
    }
  }
  return nodes;
}

std::vector<Tap> taps_at(std::span<const int> nodes, Tap::Keep keep) {
  std::vector<Tap> taps;
  for (int node : nodes) taps.push_back({node, keep});
  return taps;
}

Tensor downloaded(Kernels& kernels, const Tensor& tensor) {
  const Tensor host = Tensor::host(tensor.shape());
  kernels.download(tensor.floats(), tensor.bytes(), host.floats());
  return host;
}

// Rules whose denominators hold no bias say so in their names, or never have one (rules/linear_rules.h).
bool leaves_bias_out(const std::string& rule) {
  return rule.find("zero bias") != std::string::npos || rule == "z_box" || rule == "flat";
}

bool has_bias(const Node& node) {
  for (int which = 0; node.op && which < static_cast<int>(node.inputs.size()); ++which) {
    const Role role = node.op->role(which);
    if (role == Role::bias || role == Role::statistics) return true;
  }
  return node.kind == OpKind::affine;
}

void add_up(NodeRelevance& node) {
  const int64_t channels = node.relevance.shape().columns();
  node.channels.assign(static_cast<size_t>(channels), 0.0);
  for (int64_t i = 0; i < node.relevance.count(); ++i) {
    const auto value = static_cast<double>(node.relevance.floats()[i]);
    (value > 0 ? node.positive : node.negative) += value;
    node.channels[static_cast<size_t>(i % channels)] += value;
  }
  node.sum = node.positive + node.negative;
}

// One part of the network, head or backbone, with the two walks through it.
struct Part {
  const Activations& activations;
  const std::vector<Choice> choices;
  std::vector<int> nodes, cuts;
  RelevanceTrace messages, balance;
};

void read_part(Kernels& kernels, const Part& part, size_t end, std::vector<NodeRelevance>& nodes) {
  const Graph& graph = part.activations.graph();
  for (size_t i = 0; i < end; ++i) {
    const int index = part.nodes[i];
    const Choice& choice = part.choices[static_cast<size_t>(index)];
    NodeRelevance node;
    node.node = graph.node(index).name;
    node.is_cut = std::find(part.cuts.begin(), part.cuts.end(), index) != part.cuts.end();
    const Message& message = part.messages.at(index);
    node.relevance = downloaded(kernels, message.data);
    if (message.form == Form::multiplier) {
      const Tensor value = downloaded(kernels, part.activations.value(index));
      for (int64_t k = 0; k < value.count(); ++k) node.relevance.floats()[k] *= value.floats()[k];
    }
    add_up(node);
    const bool goes_on = i + 1 < part.nodes.size();
    if (goes_on && choice.rule) node.rule = choice.rule->name();
    node.is_softmax = graph.node(index).kind == OpKind::softmax;
    node.has_bias = has_bias(graph.node(index)) && !leaves_bias_out(node.rule);
    node.handed_on = goes_on ? static_cast<double>(part.balance.handed_on(index)[0]) : node.sum;
    nodes.push_back(std::move(node));
  }
}

}  // namespace

const NodeRelevance& RelevanceReport::at(const std::string& node) const {
  for (const NodeRelevance& each : nodes) {
    if (each.node == node) return each;
  }
  fail("[inspect] the relevance does not pass such a node; got {}; expected a name of hp-inspect graph --all",
       printable(node));
}

std::vector<const NodeRelevance*> RelevanceReport::leaks(double least) const {
  std::vector<const NodeRelevance*> found;
  for (const NodeRelevance& node : nodes) {
    const double share = std::fabs(node.lost() / logit);
    if (!(share <= least)) found.push_back(&node);  // also where it is no number
  }
  return found;
}

std::vector<const NodeRelevance*> RelevanceReport::softmaxes() const {
  std::vector<const NodeRelevance*> found;
  for (const NodeRelevance& node : nodes) {
    if (node.is_softmax) found.push_back(&node);
  }
  return found;
}

double RelevanceReport::kept() const { return nodes.back().sum / logit; }

RelevanceReport relevance_of(Session& session, const Tensor& image, int target, const WalkPlan& plan) {
  const auto [kernels, scratch] = session.context();
  const Tensor input = scratch.take(image.shape());
  kernels.upload(image.floats(), image.bytes(), input.floats());
  WalkPlan visible = plan;  // what a fused step would leave out has a line of its own in the report
  for (const Node& node : session.backbone().nodes()) {
    if (node.kind == OpKind::attention_scores) visible.pins.push_back(node.name);
  }
  const Pass pass = session.forward(input, visible);
  RelevanceReport report;
  report.logits = session.logits(pass, 0);
  const auto best = std::max_element(report.logits.begin(), report.logits.end());
  report.target = target < 0 ? static_cast<int>(best - report.logits.begin()) : target;
  const std::vector<int> targets{report.target};
  report.logit = static_cast<double>(session.target_logits(pass, targets)[0]);
  require(report.logit != 0 && std::isfinite(report.logit),
          "[inspect] class {} has no relevance to follow; got a logit of {}; expected another image or target",
          report.target, report.logit);

  const Graph &head = pass.head(0).graph(), &backbone = pass.graph();
  const int logits = head.find("logits"), head_features = head.find("features");
  const int features = backbone.find("features"), end = backbone.find("model_input");
  const auto part_of = [&](const Activations& activations, const Composite& composite, int from, int to, auto walk) {
    const Graph& graph = activations.graph();
    const std::vector<Choice> choices = composite.assign(graph);
    std::vector<int> nodes = nodes_between(graph, choices, from, to);
    RelevanceTrace messages = walk(taps_at(nodes, Tap::Keep::message)),
                   balance = walk(taps_at(nodes, Tap::Keep::balance));
    return Part{activations, choices, nodes, cuts(graph, from, to), std::move(messages), std::move(balance)};
  };
  const Part upper =
      part_of(pass.head(0), plan.composite.without_first(), logits, head_features,
              [&](const std::vector<Tap>& taps) { return session.walk_head(pass, 0, targets, {}, taps); });
  const Part lower = part_of(pass.activations(), plan.composite, features, end,
                             [&](const std::vector<Tap>& taps) { return session.walk(pass, targets, {}, taps); });
  read_part(kernels, upper, upper.nodes.size() - 1, report.nodes);  // its features are the backbone's
  read_part(kernels, lower, lower.nodes.size(), report.nodes);
  return report;
}

}  // namespace hp
