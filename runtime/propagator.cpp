#include "runtime/propagator.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/route.h"

namespace hp {

const Message& RelevanceTrace::at(int node) const {
  auto found = messages_.find(node);
  require(found != messages_.end(),
          "[propagator] no message at node {}; got none; expected a tapped node below an entry", node);
  return found->second;
}

const std::vector<float>& RelevanceTrace::sums(int node) const {
  auto found = sums_.find(node);
  require(found != sums_.end(), "[propagator] no sums at node {}; got none; expected a tapped node below an entry",
          node);
  return found->second;
}

const std::vector<float>& RelevanceTrace::handed_on(int node) const {
  auto found = handed_on_.find(node);
  require(found != handed_on_.end(),
          "[propagator] no balance at node {}; got none; expected a node below an entry with Tap::Keep::balance", node);
  return found->second;
}

Propagator::Propagator(const Graph& graph, const Composite& composite, Kernels& kernels, size_t chunk_bytes)
    : graph_(graph), kernels_(kernels), pool_(kernels), choices_(composite.assign(graph)), chunk_bytes_(chunk_bytes) {}

Prepared Propagator::prepare(const Activations& activations) {
  require(&activations.graph() == &graph_,
          "[propagator] activations of another graph; expected those of the propagator's own");
  const Observed observed(kernels_.observer(), "prepare");
  Prepared prepared{activations, {}};
  const Context context{kernels_, pool_};
  for (int i = activations.floor() + 1; i < graph_.size(); ++i) {
    const RulePtr& rule = choices_[static_cast<size_t>(i)].rule;
    if (!rule) continue;
    const NodeView view(context, prepared.activations, i);
    const std::vector<Shape> shapes = rule->prepared_shapes(view);
    if (shapes.empty()) continue;
    const Observed work(kernels_.observer(), [&] {
      return Activity{"prepare/" + short_name(*rule), graph_.node(i).name, rule->prepare_cost(graph_, i)};
    });
    std::vector<Tensor>& tensors = prepared.tensors[i];
    for (const Shape& shape : shapes) tensors.push_back(pool_.take(shape));
    rule->prepare(view, tensors);
  }
  return prepared;
}

RelevanceTrace Propagator::run(const Prepared& prepared, std::span<const Entry> entries, std::span<const Tap> taps) {
  const Observed observed(kernels_.observer(), "walk");
  require(!entries.empty(), "[propagator] no entry; got 0; expected at least one");
  const int targets = entries[0].message.targets;
  for (const Entry& entry : entries) {
    const Shape& shape = graph_.node(entry.node).shape;
    require(entry.message.targets == targets && entry.message.form == Form::multiplier &&
                entry.message.data.count() == shape.count() * targets,
            "[propagator] entry at '{}' does not fit; got {} for {} targets; expected multipliers, {} per target",
            graph_.node(entry.node).name, entry.message.data.shape().str(), entry.message.targets, shape.str());
  }
  Route route(graph_, choices_, entries, taps);
  route.lay_out(1);
  const int chunk = std::clamp(static_cast<int>(chunk_bytes_ / std::max<size_t>(route.bytes, 1)), 1, targets);
  RelevanceTrace trace;
  for (const Tap& tap : taps) {
    const size_t node = static_cast<size_t>(tap.node);
    require(tap.node >= prepared.activations.floor(),
            "[propagator] the pass kept nothing below '{}'; got a tap at '{}'; expected an executor with a lower floor",
            graph_.node(std::min(prepared.activations.floor(), graph_.size() - 1)).name, graph_.node(tap.node).name);
    if (!route.reached[node]) continue;
    if (tap.keep != Tap::Keep::message) {
      const auto rows = static_cast<size_t>(targets * prepared.activations.batch());
      trace.sums_[tap.node].resize(rows);
      if (tap.keep == Tap::Keep::balance) trace.handed_on_[tap.node].resize(rows);
    } else {
      trace.messages_[tap.node] = {place_for(route, entries, tap, targets), route.form[node], targets};
    }
  }
  for (int first = 0; first < targets; first += chunk) {
    const int count = std::min(chunk, targets - first);
    if (first == 0 || count != chunk) route.lay_out(count);
    walk(prepared, route, entries, first, count, targets, trace);
  }
  for (int i = 0; i <= route.top; ++i) {
    const size_t node = static_cast<size_t>(i);
    if (route.reached[node] && choices_[node].reason == "default") trace.defaults_.push_back(graph_.node(i).name);
  }
  return trace;
}

// Where the message of a tap goes. An entry that nothing is added to is its own message.
Tensor Propagator::place_for(const Route& route, std::span<const Entry> entries, const Tap& tap, int targets) {
  const Node& node = graph_.node(tap.node);
  const Shape all = node.shape.rank() ? node.shape.with(0, node.shape[0] * targets) : Shape{targets};
  if (!tap.into.empty()) {
    require(tap.into.count() == all.count() && tap.into.dtype() == DType::float32,
            "[propagator] the message of '{}' does not fit its place; got {}; expected {}", node.name,
            tap.into.shape().str(), all.str());
    return tap.into.reshaped(all);
  }
  const Tensor* own = nullptr;
  int writers = static_cast<int>(route.reached_only(node.consumers).size());
  for (const Entry& entry : entries) {
    if (entry.node == tap.node) own = &entry.message.data, ++writers;
  }
  const bool shared = own && writers == 1 && route.form[static_cast<size_t>(tap.node)] == Form::multiplier;
  return shared ? own->reshaped(all) : pool_.take(all);
}

void Propagator::walk(const Prepared& prepared, const Route& route, std::span<const Entry> entries, int first,
                      int count, int targets, RelevanceTrace& trace) {
  const Context context{kernels_, pool_};
  const std::shared_ptr<Storage> arena = pool_.take(route.bytes);
  std::vector<bool> written(route.reached.size(), false);
  auto message_of = [&](int node) {
    const Shape& shape = graph_.node(node).shape;
    const Shape stacked = shape.rank() ? shape.with(0, shape[0] * count) : Shape{count};
    if (route.in_trace(node)) {  // written straight to where the caller finds it
      const Tensor& all = trace.messages_.at(node).data;
      return Message{all.rows(all.shape()[0] / targets * first, all.shape()[0] / targets * (first + count)),
                     route.form[static_cast<size_t>(node)], count};
    }
    return Message{Tensor(stacked, DType::float32, arena, route.offset[static_cast<size_t>(node)]),
                   route.form[static_cast<size_t>(node)], count};
  };
  auto add_to = [&](int node, const Tensor& data) {
    const Message in = message_of(node);
    if (written[static_cast<size_t>(node)]) {
      kernels_.scale_add(data.count(), 1, data.floats(), 1, in.data.floats());
    } else if (data.floats() != in.data.floats()) {
      kernels_.copy(data.floats(), data.bytes(), in.data.floats());
    }
    written[static_cast<size_t>(node)] = true;
  };
  for (int i = route.top; i >= 0; --i) {
    if (!route.reached[static_cast<size_t>(i)]) continue;
    const Observed observed(kernels_.observer(), [&] { return activity_at(route, i, count); });
    for (const Entry& entry : entries) {
      if (entry.node != i) continue;
      const Tensor& all = entry.message.data;
      const Tensor part = all.reshaped({targets, all.count() / targets}).rows(first, first + count);
      if (route.form[static_cast<size_t>(i)] == Form::relevance) {
        const Message converted{pool_.take(part.shape()), Form::relevance, count};
        kernels_.copy(part.floats(), part.bytes(), converted.data.floats());
        convert(prepared, i, Form::multiplier, converted);
        add_to(i, converted.data);
      } else {
        add_to(i, part);
      }
    }
    require(written[static_cast<size_t>(i)], "[propagator] no message arrived at '{}'", graph_.node(i).name);
    const Message out = message_of(i);
    const std::span<float> handed_on = keep_sums(prepared, route, out, i, first, trace);
    const Node& node = graph_.node(i);
    if (!node.op || node.kind == OpKind::detach) continue;
    const NodeView view(context, prepared.activations, i);
    if (handed_on.empty() && route.may_pull_together(i)) {
      std::vector<Message> messages(node.inputs.size());
      for (size_t which = 0; which < messages.size(); ++which) {
        if (route.reached[static_cast<size_t>(node.inputs[which])]) messages[which] = message_of(node.inputs[which]);
      }
      pull_together(view, out, messages, written);
      for (int input : node.inputs) written[static_cast<size_t>(input)] = true;
      continue;
    }
    bool pulled = false;
    for (int which = 0; which < static_cast<int>(node.inputs.size()); ++which) {
      const size_t input = static_cast<size_t>(node.inputs[static_cast<size_t>(which)]);
      if (!route.reached[input] || !choices_[static_cast<size_t>(i)].rule->carries(graph_, i, which)) continue;
      const Message in = message_of(static_cast<int>(input));
      if (!pulled || !route.in_place[static_cast<size_t>(i)])
        pull_into(prepared, view, out, which, in, written[input], handed_on);
      else if (!handed_on.empty())
        add_sums(prepared, static_cast<int>(input), in, handed_on);
      pulled = written[input] = true;
    }
  }
}

// A node's own phase; a walk's end, where nothing is pulled, has none of its own.
Activity Propagator::activity_at(const Route& route, int node, int targets) const {
  const Rule* rule = choices_[static_cast<size_t>(node)].rule.get();
  Activity activity{"walk/end", graph_.node(node).name, {}};
  const std::vector<int>& inputs = graph_.node(node).inputs;
  for (int which = 0; rule && which < static_cast<int>(inputs.size()); ++which) {
    if (!route.reached[static_cast<size_t>(inputs[static_cast<size_t>(which)])] || !rule->carries(graph_, node, which))
      continue;
    const std::string name = short_name(*rule);
    activity.phase = name.starts_with("vjp") ? "vjp" : "lrp/" + name;
    activity.cost += rule->pull_cost(graph_, node, which, targets);
    if (route.in_place[static_cast<size_t>(node)]) break;
  }
  return activity;
}

// One edge: the rule's message, converted to the form that the input's own rule takes, then added to those of the other
// consumers.
void Propagator::pull_into(const Prepared& prepared, const NodeView& view, const Message& out, int which,
                           const Message& in, bool add, std::span<float> handed_on) {
  const Rule& rule = *choices_[static_cast<size_t>(view.index)].rule;
  const int input = view.node().inputs[static_cast<size_t>(which)];
  auto found = prepared.tensors.find(view.index);
  const std::span<const Tensor> tensors = found == prepared.tensors.end() ? std::span<const Tensor>() : found->second;
  const Message target{add ? pool_.take(in.data.shape()) : in.data, in.form, in.targets};
  rule.pull(view, tensors, out, which, target.data);
  if (rule.gives() != in.form) {
    require(in.form == Form::relevance || rule.gives_multiple_of_input(),
            "[propagator] relevance of rule {} at '{}' cannot go on as a multiplier; got a rule that takes multipliers "
            "at '{}'; expected "
            "the rule at the first layer only",
            rule.name(), view.node().name, graph_.node(input).name);
    convert(prepared, input, rule.gives(), target);
  }
  if (!handed_on.empty()) add_sums(prepared, input, target, handed_on);
  if (add) kernels_.scale_add(target.data.count(), 1, target.data.floats(), 1, in.data.floats());
}

// All edges of a node at once; messages of inputs that are not reached are empty.
void Propagator::pull_together(const NodeView& view, const Message& out, std::span<const Message> in,
                               const std::vector<bool>& written) {
  std::vector<Tensor> targets;
  for (size_t which = 0; which < in.size(); ++which) {
    const bool add = written[static_cast<size_t>(view.node().inputs[which])] && !in[which].data.empty();
    targets.push_back(add ? pool_.take(in[which].data.shape()) : in[which].data);
  }
  choices_[static_cast<size_t>(view.index)].rule->pull_together(view, out, targets);
  for (size_t which = 0; which < in.size(); ++which) {
    const Tensor &from = targets[which], &to = in[which].data;
    if (!from.empty() && from.floats() != to.floats()) {
      kernels_.scale_add(from.count(), 1, from.floats(), 1, to.floats());
    }
  }
}

// In place: R = M * value, or M = R / value with 0 where the value is 0.
void Propagator::convert(const Prepared& prepared, int node, Form from, const Message& message) {
  const Tensor value = prepared.activations.value(node);
  float* data = message.data.floats();
  if (from == Form::multiplier) {
    kernels_.combine(Binary::multiply, message.data.count(), value.count(), data, value.floats(), data);
  } else {
    kernels_.stabilised_ratio(message.data.count(), value.count(), 0, data, value.floats(), data);
  }
}

// Keeps the sums that the node's tap wants, if any; what it handed on goes to the result, of this chunk's rows.
std::span<float> Propagator::keep_sums(const Prepared& prepared, const Route& route, const Message& message, int node,
                                       int first, RelevanceTrace& trace) {
  const Tap* tap = route.taps[static_cast<size_t>(node)];
  if (!tap || tap->keep == Tap::Keep::message) return {};
  const int64_t batch = prepared.activations.batch();
  const auto before = static_cast<size_t>(first * batch), rows = static_cast<size_t>(message.targets * batch);
  add_sums(prepared, node, message, std::span(trace.sums_.at(node)).subspan(before, rows));
  if (tap->keep == Tap::Keep::sums) return {};
  return std::span(trace.handed_on_.at(node)).subspan(before, rows);
}

// Adds the relevance of every row of a message, summed over the row.
void Propagator::add_sums(const Prepared& prepared, int node, const Message& message, std::span<float> sums) {
  const Tensor value = prepared.activations.value(node);
  const int64_t batch = prepared.activations.batch();
  const float* factor = message.form == Form::multiplier ? value.floats() : nullptr;
  const Tensor rows = pool_.take(Shape{message.targets * batch});
  kernels_.row_dots({batch, value.count() / batch}, message.targets, factor, message.data.floats(), rows.floats());
  std::vector<float> host(sums.size());
  kernels_.download(rows.floats(), rows.bytes(), host.data());
  for (size_t i = 0; i < host.size(); ++i) sums[i] += host[i];
}

}  // namespace hp
