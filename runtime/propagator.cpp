#include "runtime/propagator.h"

#include <algorithm>
#include <numeric>

#include "runtime/error.h"

namespace hp {

struct Propagator::Route {
  std::vector<bool> reached;     // a message arrives at this value
  std::vector<bool> wanted;      // the value or something below it is tapped
  std::vector<const Tap*> taps;  // per node
  std::vector<Form> form;        // of the message
  std::vector<int> place;        // the node whose memory the message lies in: its own or a consumer's
  std::vector<bool> in_place;    // the node's rule turns its message into that of all inputs where it lies
  std::vector<bool> read_only;   // the message shares its memory with one that is read later
  std::vector<size_t> offset;    // of the message in the arena of one chunk
  size_t bytes = 0;
  int top = 0;

  bool in_trace(int node) const {
    const Tap* tap = taps[static_cast<size_t>(node)];
    return tap && tap->keep == Tap::Keep::message;
  }
  std::vector<int> reached_only(std::span<const int> nodes) const {
    std::vector<int> result;
    for (int node : nodes) {
      if (node <= top && reached[static_cast<size_t>(node)]) result.push_back(node);
    }
    return result;
  }
};

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

// A message has the form that the node's own rule takes. Where the walk ends, no rule takes it: there relevance stays
// relevance.
Form Propagator::form_of(const Route& route, int node) const {
  bool goes_on = false;
  for (int input : graph_.node(node).inputs) goes_on = goes_on || route.reached[static_cast<size_t>(input)];
  if (goes_on) return choices_[static_cast<size_t>(node)].rule->takes();
  for (int consumer : graph_.node(node).consumers) {
    const size_t index = static_cast<size_t>(consumer);
    if (consumer <= route.top && route.reached[index] && choices_[index].rule->gives() == Form::relevance)
      return Form::relevance;
  }
  return Form::multiplier;
}

// The inputs that a node's rule has a message for.
std::vector<int> Propagator::carried_inputs(int node) const {
  const std::vector<int>& inputs = graph_.node(node).inputs;
  std::vector<int> carried;
  for (size_t which = 0; which < inputs.size(); ++which) {
    if (choices_[static_cast<size_t>(node)].rule->carries(graph_, node, static_cast<int>(which)))
      carried.push_back(inputs[which]);
  }
  return carried;
}

Propagator::Route Propagator::route(std::span<const Entry> entries, std::span<const Tap> taps) const {
  const size_t count = static_cast<size_t>(graph_.size());
  Route route{std::vector<bool>(count, false),
              std::vector<bool>(count, false),
              std::vector<const Tap*>(count, nullptr),
              std::vector<Form>(count, Form::multiplier),
              std::vector<int>(count),
              std::vector<bool>(count, false),
              std::vector<bool>(count, false),
              {},
              0,
              0};
  for (const Tap& tap : taps) {
    route.taps[static_cast<size_t>(tap.node)] = &tap;
    route.wanted[static_cast<size_t>(tap.node)] = true;
  }
  for (int i = 0; i < graph_.size(); ++i) {
    for (int input : carried_inputs(i)) {
      if (route.wanted[static_cast<size_t>(input)]) route.wanted[static_cast<size_t>(i)] = true;
    }
  }
  for (const Entry& entry : entries) {
    route.reached[static_cast<size_t>(entry.node)] = route.wanted[static_cast<size_t>(entry.node)];
    route.top = std::max(route.top, entry.node);
  }
  for (int i = route.top; i >= 0; --i) {
    if (!route.reached[static_cast<size_t>(i)] || graph_.node(i).kind == OpKind::detach) continue;
    for (int input : carried_inputs(i)) {
      if (route.wanted[static_cast<size_t>(input)]) route.reached[static_cast<size_t>(input)] = true;
    }
  }
  for (int i = 0; i <= route.top; ++i) {
    if (route.reached[static_cast<size_t>(i)]) route.form[static_cast<size_t>(i)] = form_of(route, i);
  }
  share_messages(route, entries);
  return route;
}

// Could the messages of all inputs of a node lie where its own is? Nothing may have been written to them before, and
// only the one that is read last may be changed afterwards.
bool Propagator::may_share(const Route& route, std::span<const Entry> entries, int node) const {
  const Rule* rule = choices_[static_cast<size_t>(node)].rule.get();
  if (!rule || !rule->works_in_place(graph_, node) || route.in_trace(node) ||
      route.read_only[static_cast<size_t>(node)])
    return false;
  std::vector<int> inputs = route.reached_only(graph_.node(node).inputs);
  std::ranges::sort(inputs);
  if (inputs.empty() || std::ranges::adjacent_find(inputs) != inputs.end()) return false;
  for (int input : inputs) {
    if (route.in_trace(input) || route.form[static_cast<size_t>(input)] != rule->gives()) return false;
    const bool last = input == inputs[0];
    for (int consumer : route.reached_only(graph_.node(input).consumers)) {
      if (consumer > node) return false;
      if (consumer < node && (!last || (inputs.size() > 1 && consumer >= inputs[1]))) return false;
    }
    for (const Entry& entry : entries) {
      if (entry.node == input && !last) return false;
    }
  }
  return true;
}

void Propagator::share_messages(Route& route, std::span<const Entry> entries) const {
  std::iota(route.place.begin(), route.place.end(), 0);
  for (int i = route.top; i >= 0; --i) {
    const size_t node = static_cast<size_t>(i);
    if (!route.reached[node] || !may_share(route, entries, i)) continue;
    route.in_place[node] = true;
    const std::vector<int> inputs = route.reached_only(graph_.node(i).inputs);
    for (int input : inputs) {
      route.place[static_cast<size_t>(input)] = route.place[node];
      route.read_only[static_cast<size_t>(input)] = input != std::ranges::min(inputs);
    }
  }
}

// A message lives from its first consumer (the highest node) down to its own node, or to the last one that shares its
// memory; that of a tap lies with the trace.
void Propagator::lay_out_messages(Route& route, int64_t targets) const {
  std::vector<Lifetime> lifetimes;
  std::vector<size_t> block(static_cast<size_t>(graph_.size()), 0);
  for (int i = route.top; i >= 0; --i) {
    const size_t node = static_cast<size_t>(i), place = static_cast<size_t>(route.place[node]);
    if (!route.reached[node]) continue;
    if (place != node) {  // below the node that the memory was made for
      block[node] = block[place];
      lifetimes[block[node]].last = route.top - i;
      continue;
    }
    int first = i;
    for (int consumer : route.reached_only(graph_.node(i).consumers)) first = std::max(first, consumer);
    const int64_t elements = route.in_trace(i) ? 0 : graph_.node(i).shape.count() * targets;
    block[node] = lifetimes.size();
    lifetimes.push_back({static_cast<size_t>(elements) * sizeof(float), route.top - first, route.top - i});
  }
  const Layout layout = lay_out(lifetimes);
  route.offset.assign(block.size(), 0);
  for (size_t i = 0; i < block.size(); ++i) {
    if (route.reached[i]) route.offset[i] = layout.offsets[block[i]];
  }
  route.bytes = layout.bytes;
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
  Route route = this->route(entries, taps);
  lay_out_messages(route, 1);
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
    if (first == 0 || count != chunk) lay_out_messages(route, count);
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
    if (handed_on.empty() && may_pull_together(route, i)) {
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

bool Propagator::may_pull_together(const Route& route, int node) const {
  const Rule& rule = *choices_[static_cast<size_t>(node)].rule;
  if (!rule.pulls_together(graph_, node)) return false;
  const std::vector<int> inputs = route.reached_only(graph_.node(node).inputs);
  return std::ranges::all_of(inputs, [&](int input) { return route.form[static_cast<size_t>(input)] == rule.gives(); });
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
