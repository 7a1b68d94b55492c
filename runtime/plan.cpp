#include "runtime/plan.h"

#include <algorithm>
#include <numeric>

#include "runtime/ops/activation.h"

namespace hp {

namespace {

constexpr size_t alignment = 64;

size_t aligned(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

bool overlap(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }

// The only consumer of a node, if it has the given kind; -1 otherwise.
int sole_consumer(const Graph& graph, int node, OpKind kind) {
  const std::vector<int>& consumers = graph.node(node).consumers;
  return consumers.size() == 1 && graph.node(consumers[0]).kind == kind ? consumers[0] : -1;
}

// The activations other than ReLU that a kernel may apply on the way out.
struct FusedActivation {
  OpKind kind;
  Function function;
};
constexpr FusedActivation fused_activations[] = {{OpKind::gelu, Function::gelu},
                                                 {OpKind::gelu_tanh, Function::gelu_tanh},
                                                 {OpKind::quick_gelu, Function::quick_gelu},
                                                 {OpKind::silu, Function::silu}};

}  // namespace

Layout lay_out(std::span<const Lifetime> lifetimes) {
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });
  Layout layout{std::vector<size_t>(lifetimes.size(), 0), 0};
  std::vector<size_t> placed;  // sorted by offset
  for (size_t block : order) {
    size_t at = 0;
    for (size_t other : placed) {
      if (!overlap(lifetimes[block], lifetimes[other])) continue;
      if (at + aligned(lifetimes[block].bytes) <= layout.offsets[other]) break;
      at = std::max(at, layout.offsets[other] + aligned(lifetimes[other].bytes));
    }
    layout.offsets[block] = at;
    layout.bytes = std::max(layout.bytes, at + aligned(lifetimes[block].bytes));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), block,
                                   [&](size_t a, size_t b) { return layout.offsets[a] < layout.offsets[b]; }),
                  block);
  }
  return layout;
}

Plan::Plan(const Graph& graph, Keep keep, std::span<const int> pinned, int floor, std::vector<bool> unread)
    : floor_(keep == Keep::everything ? floor : graph.size()), unread_(std::move(unread)) {
  unread_.resize(static_cast<size_t>(graph.size()), false);
  std::vector<bool> is_pinned(static_cast<size_t>(graph.size()), false);
  for (int node : pinned) is_pinned[static_cast<size_t>(node)] = true;
  fuse(graph, is_pinned);
  place(graph, is_pinned);
}

void Plan::fuse(const Graph& graph, const std::vector<bool>& pinned) {
  holder_.resize(static_cast<size_t>(graph.size()));
  std::iota(holder_.begin(), holder_.end(), 0);
  swallowed_.assign(static_cast<size_t>(graph.size()), false);
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    if (!node.op || node.is_constant || swallowed_[static_cast<size_t>(i)]) continue;
    Step step{.node = i, .result = i};
    fuse_addend(graph, pinned, step);
    fuse_activation(graph, pinned, step);
    fuse_softmax(graph, pinned, step);
    steps_.push_back(step);
  }
}

// `node`, the value of a step so far, is handed to `by`; from now on `holder` has it, or nobody (-1).
void Plan::swallow(int node, int by, int holder) {
  swallowed_[static_cast<size_t>(by)] = true;
  holder_[static_cast<size_t>(node)] = holder;
}

void Plan::fuse_addend(const Graph& graph, const std::vector<bool>& pinned, Step& step) {
  const int node = step.node;
  const int add = graph.node(node).op->fuses_addend() ? sole_consumer(graph, node, OpKind::add) : -1;
  const bool is_read = add > floor_ && !unread_[static_cast<size_t>(node)];
  if (add < 0 || is_read || pinned[static_cast<size_t>(node)]) return;
  const std::vector<int>& operands = graph.node(add).inputs;
  const int other = operands[0] == node ? operands[1] : operands[0];
  if (other >= node) return;  // the other operand is not there yet when this node runs
  swallow(node, add, -1);     // the sum replaces it: its own value exists nowhere
  step.addend = other, step.result = add;
}

void Plan::fuse_activation(const Graph& graph, const std::vector<bool>& pinned, Step& step) {
  const Op& op = *graph.node(step.node).op;
  if (pinned[static_cast<size_t>(step.result)]) return;
  const int relu = op.fuses_relu() ? sole_consumer(graph, step.result, OpKind::relu) : -1;
  if (relu >= 0) {
    swallow(step.result, relu, relu);
    step.activation = Function::relu, step.result = relu;
    return;
  }
  for (const auto& [kind, function] : fused_activations) {
    const int activation = op.fuses_activation() ? sole_consumer(graph, step.result, kind) : -1;
    if (activation < 0 || activation > floor_) continue;
    swallow(step.result, activation, -1);
    step.activation = function, step.result = activation;
    return;
  }
}

void Plan::fuse_softmax(const Graph& graph, const std::vector<bool>& pinned, Step& step) {
  if (!graph.node(step.node).op->fuses_softmax() || pinned[static_cast<size_t>(step.node)]) return;
  const int affine = sole_consumer(graph, step.node, OpKind::affine);
  const int softmax = sole_consumer(graph, affine < 0 ? step.node : affine, OpKind::softmax);
  if (softmax < 0) return;
  if (affine >= 0) {
    const auto& op = static_cast<const AffineOp&>(*graph.node(affine).op);
    if (op.shift() != 0 || pinned[static_cast<size_t>(affine)]) return;
    step.scale = op.scale();
    swallow(step.node, affine, -1);
  }
  swallow(affine < 0 ? step.node : affine, softmax, -1);
  step.softmax = true, step.result = softmax;
}

// The value that a step adds, if nothing else needs it from then on: the result may take its place, which spares the
// memory one of three passes. -1 otherwise.
int Plan::dying_addend(const Graph& graph, int s, const std::vector<int>& last_use) const {
  const Step& step = steps_[static_cast<size_t>(s)];
  if (step.addend < 0) return -1;
  const int addend = holder_[static_cast<size_t>(step.addend)];
  const Node& node = graph.node(addend);
  const bool dies =
      node.op && !node.is_constant && !kept_[static_cast<size_t>(addend)] && last_use[static_cast<size_t>(addend)] == s;
  const bool read = std::ranges::any_of(graph.node(step.node).inputs,
                                        [&](int input) { return holder_[static_cast<size_t>(input)] == addend; });
  return dies && !read ? addend : -1;
}

void Plan::place(const Graph& graph, const std::vector<bool>& pinned) {
  const size_t count = static_cast<size_t>(graph.size());
  const int end = static_cast<int>(steps_.size());
  std::vector<int> last_use(count, -1);
  std::vector<bool> walked(count, false);  // a walk down to the floor may read the value
  const auto walk_reads = [&](int node) {
    if (holder_[static_cast<size_t>(node)] >= 0 && !unread_[static_cast<size_t>(node)])
      walked[static_cast<size_t>(holder_[static_cast<size_t>(node)])] = true;
  };
  for (int s = 0; s < end; ++s) {
    const Step& step = steps_[static_cast<size_t>(s)];
    auto use = [&](int node) {
      if (holder_[static_cast<size_t>(node)] >= 0)
        last_use[static_cast<size_t>(holder_[static_cast<size_t>(node)])] = s;
    };
    for (int input : graph.node(step.node).inputs) use(input);
    if (step.addend >= 0) use(step.addend);
    if (step.result >= floor_) walk_reads(step.result);
    if (step.node <= floor_) continue;
    for (int input : graph.node(step.node).inputs) walk_reads(input);
  }
  kept_.assign(count, false);
  std::vector<Lifetime> lifetimes;
  std::vector<size_t> value_block(count, 0), saved_block(count, 0);
  for (int s = 0; s < end; ++s) {
    const Step& step = steps_[static_cast<size_t>(s)];
    const size_t result = static_cast<size_t>(step.result);
    const bool stays = walked[result] || pinned[result] || graph.node(step.result).consumers.empty();
    const Saved saved = graph.node(step.node).op->saved(graph.input_shapes(step.node));
    const int last = stays ? end : std::max(s, last_use[result]);
    kept_[result] = stays;
    value_block[result] = lifetimes.size();
    if (const int addend = dying_addend(graph, s, last_use); addend >= 0) {
      value_block[result] = value_block[static_cast<size_t>(addend)];
      lifetimes[value_block[result]].last = last;
    } else {
      lifetimes.push_back({static_cast<size_t>(graph.node(step.result).shape.count()) * sizeof(float), s, last});
    }
    saved_block[static_cast<size_t>(step.node)] = lifetimes.size();
    if (!saved.none) {
      lifetimes.push_back(
          {static_cast<size_t>(saved.shape.count()) * size_of(saved.dtype), s, step.node > floor_ ? end : s});
    }
  }
  const Layout layout = lay_out(lifetimes);
  bytes_ = layout.bytes;
  offset_.assign(count, 0);
  saved_offset_.assign(count, 0);
  for (const Step& step : steps_) {
    const size_t result = static_cast<size_t>(step.result), node = static_cast<size_t>(step.node);
    offset_[result] = layout.offsets[value_block[result]];
    if (saved_block[node] < layout.offsets.size()) saved_offset_[node] = layout.offsets[saved_block[node]];
  }
  for (size_t i = 0; i < count; ++i) {
    const Node& node = graph.node(static_cast<int>(i));
    if (!node.op || node.is_constant)
      kept_[i] = true;
    else if (holder_[i] >= 0 && holder_[i] != static_cast<int>(i))
      kept_[i] = kept_[static_cast<size_t>(holder_[i])];
  }
}

}  // namespace hp
