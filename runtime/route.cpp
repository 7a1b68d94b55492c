#include "runtime/route.h"

#include <algorithm>
#include <numeric>

#include "runtime/plan.h"

namespace hp {

Route::Route(const Graph& graph, const std::vector<Choice>& choices, std::span<const Entry> entries,
             std::span<const Tap> all_taps)
    : reached(static_cast<size_t>(graph.size())),
      wanted(reached.size()),
      taps(reached.size()),
      form(reached.size(), Form::multiplier),
      place(reached.size()),
      in_place(reached.size()),
      read_only(reached.size()),
      offset(reached.size()),
      graph_(graph),
      choices_(choices) {
  for (const Tap& tap : all_taps) {
    taps[static_cast<size_t>(tap.node)] = &tap;
    wanted[static_cast<size_t>(tap.node)] = true;
  }
  find_reached(entries);
  for (int i = 0; i <= top; ++i) {
    if (reached[static_cast<size_t>(i)]) form[static_cast<size_t>(i)] = form_of(i);
  }
  share_messages(entries);
}

// Up from the taps, then down from the entries.
void Route::find_reached(std::span<const Entry> entries) {
  for (int i = 0; i < graph_.size(); ++i) {
    for (int input : carried_inputs(i)) {
      if (wanted[static_cast<size_t>(input)]) wanted[static_cast<size_t>(i)] = true;
    }
  }
  for (const Entry& entry : entries) {
    reached[static_cast<size_t>(entry.node)] = wanted[static_cast<size_t>(entry.node)];
    top = std::max(top, entry.node);
  }
  for (int i = top; i >= 0; --i) {
    if (!reached[static_cast<size_t>(i)] || graph_.node(i).kind == OpKind::detach) continue;
    for (int input : carried_inputs(i)) {
      if (wanted[static_cast<size_t>(input)]) reached[static_cast<size_t>(input)] = true;
    }
  }
}

std::vector<int> Route::reached_only(std::span<const int> nodes) const {
  std::vector<int> result;
  for (int node : nodes) {
    if (node <= top && reached[static_cast<size_t>(node)]) result.push_back(node);
  }
  return result;
}

// A message has the form that the node's own rule takes. Where the walk ends, no rule takes it: there relevance stays
// relevance.
Form Route::form_of(int node) const {
  bool goes_on = false;
  for (int input : graph_.node(node).inputs) goes_on = goes_on || reached[static_cast<size_t>(input)];
  if (goes_on) return choices_[static_cast<size_t>(node)].rule->takes();
  for (int consumer : graph_.node(node).consumers) {
    const size_t index = static_cast<size_t>(consumer);
    if (consumer <= top && reached[index] && choices_[index].rule->gives() == Form::relevance) return Form::relevance;
  }
  return Form::multiplier;
}

// The inputs that a node's rule has a message for.
std::vector<int> Route::carried_inputs(int node) const {
  const std::vector<int>& inputs = graph_.node(node).inputs;
  std::vector<int> carried;
  for (size_t which = 0; which < inputs.size(); ++which) {
    if (choices_[static_cast<size_t>(node)].rule->carries(graph_, node, static_cast<int>(which)))
      carried.push_back(inputs[which]);
  }
  return carried;
}

// Could the messages of all inputs of a node lie where its own is? Nothing may have been written to them before, and
// only the one that is read last may be changed afterwards.
bool Route::may_share(std::span<const Entry> entries, int node) const {
  const Rule* rule = choices_[static_cast<size_t>(node)].rule.get();
  if (!rule || !rule->works_in_place(graph_, node) || in_trace(node) || read_only[static_cast<size_t>(node)])
    return false;
  std::vector<int> inputs = reached_only(graph_.node(node).inputs);
  std::ranges::sort(inputs);
  if (inputs.empty() || std::ranges::adjacent_find(inputs) != inputs.end()) return false;
  for (int input : inputs) {
    if (in_trace(input) || form[static_cast<size_t>(input)] != rule->gives()) return false;
    const bool last = input == inputs[0];
    for (int consumer : reached_only(graph_.node(input).consumers)) {
      if (consumer > node) return false;
      if (consumer < node && (!last || (inputs.size() > 1 && consumer >= inputs[1]))) return false;
    }
    for (const Entry& entry : entries) {
      if (entry.node == input && !last) return false;
    }
  }
  return true;
}

void Route::share_messages(std::span<const Entry> entries) {
  std::iota(place.begin(), place.end(), 0);
  for (int i = top; i >= 0; --i) {
    const size_t node = static_cast<size_t>(i);
    if (!reached[node] || !may_share(entries, i)) continue;
    in_place[node] = true;
    const std::vector<int> inputs = reached_only(graph_.node(i).inputs);
    for (int input : inputs) {
      place[static_cast<size_t>(input)] = place[node];
      read_only[static_cast<size_t>(input)] = input != std::ranges::min(inputs);
    }
  }
}

// A message lives from its first consumer (the highest node) down to its own node, or to the last one that shares its
// memory; that of a tap lies with the trace.
void Route::lay_out(int64_t targets) {
  std::vector<Lifetime> lifetimes;
  std::vector<size_t> block(static_cast<size_t>(graph_.size()), 0);
  for (int i = top; i >= 0; --i) {
    const size_t node = static_cast<size_t>(i), home = static_cast<size_t>(place[node]);
    if (!reached[node]) continue;
    if (home != node) {  // below the node that the memory was made for
      block[node] = block[home];
      lifetimes[block[node]].last = top - i;
      continue;
    }
    int first = i;
    for (int consumer : reached_only(graph_.node(i).consumers)) first = std::max(first, consumer);
    const int64_t elements = in_trace(i) ? 0 : graph_.node(i).shape.count() * targets;
    block[node] = lifetimes.size();
    lifetimes.push_back({static_cast<size_t>(elements) * sizeof(float), top - first, top - i});
  }
  const Layout layout = hp::lay_out(lifetimes);
  offset.assign(block.size(), 0);
  for (size_t i = 0; i < block.size(); ++i) {
    if (reached[i]) offset[i] = layout.offsets[block[i]];
  }
  bytes = layout.bytes;
}

bool Route::may_pull_together(int node) const {
  const Rule& rule = *choices_[static_cast<size_t>(node)].rule;
  if (!rule.pulls_together(graph_, node)) return false;
  const std::vector<int> inputs = reached_only(graph_.node(node).inputs);
  return std::ranges::all_of(inputs, [&](int input) { return form[static_cast<size_t>(input)] == rule.gives(); });
}

}  // namespace hp
