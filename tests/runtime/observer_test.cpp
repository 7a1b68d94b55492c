// What is reported to an observer, what it costs, and what a walk's balance says.
#include "runtime/observer.h"

#include <doctest/doctest.h>

#include <set>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/propagator.h"
#include "tests/support/small_nets.h"

using namespace hp;
using testing::formula_parameters;
using testing::formula_tensor;
using testing::same_bits;
using testing::small_resnet;

namespace {

struct Reported {
  std::string name;
  int depth;
  Cost cost;
};

class Recorder final : public Observer {
 public:
  void begin(const Activity& activity) override { all.push_back({activity.name(), depth++, activity.cost}); }
  void end() override { --depth; }

  std::vector<Reported> all;
  int depth = 0;

  const Reported& at(const std::string& name) const {
    for (const Reported& each : all) {
      if (each.name == name) return each;
    }
    throw Error("not reported: " + name);
  }
};

// Gives its inputs twice what the vector-Jacobian product would.
class Doubling final : public Rule {
 public:
  std::string name() const override { return "doubling(2)"; }
  void pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
            Tensor in) const override {
    VjpRule().pull(view, prepared, out, which, in);
    view.context.kernels.scale_add(in.count(), 1, in.floats(), 1, in.floats());
  }
};

struct Fixture {
  CpuKernels kernels;
  Graph unfolded = small_resnet(2);
  Folded net = fold_norms(unfolded, formula_parameters(unfolded));
  const Graph& graph = net.graph;
  Executor executor{net.graph, net.parameters, kernels, Keep::everything};
  Tensor image = formula_tensor("image", {2, 8, 8, 3});
  int input = net.graph.find("image"), logits = net.graph.find("logits");

  RelevanceTrace walk(const Composite& composite, std::span<const Tap> taps, size_t chunk = size_t{1} << 30) {
    Propagator propagator(graph, composite, kernels, chunk);
    Tensor seeds = Tensor::host({6, 5});  // three targets
    std::fill_n(seeds.floats(), seeds.count(), 0.0f);
    for (int64_t row = 0; row < 6; ++row) seeds.floats()[row * 5 + row / 2] = 1;
    const Entry entry{logits, {seeds, Form::multiplier, 3}};
    return propagator.run(executor.run(image), {&entry, 1}, taps);
  }
};

std::vector<Tap> balances(const Graph& graph) {
  std::vector<Tap> taps;
  for (int i = 0; i < graph.size(); ++i) {
    if (graph.node(i).kind != OpKind::parameter) taps.push_back({i, Tap::Keep::balance});
  }
  return taps;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "observer: every step and every pulled node, by name, within its pass") {
  Recorder recorder;
  kernels.observe(&recorder);
  const Tap tap{input, Tap::Keep::message};
  const RelevanceTrace seen = walk(Composite().at("conv2", std::make_shared<Doubling>()), {&tap, 1});
  kernels.observe(nullptr);
  CHECK(recorder.depth == 0);
  std::set<std::string> names;
  for (const Reported& each : recorder.all) {
    CHECK(each.depth == (each.name == "forward" || each.name == "prepare" || each.name == "walk" ? 0 : 1));
    CHECK(names.insert(each.name).second);
  }
  for (const char* name : {"forward/conv1", "forward/maxpool", "forward/shortcut", "forward/logits", "vjp/logits",
                           "vjp/conv1", "lrp/doubling/conv2", "vjp/relu1", "walk/end/image"})
    CHECK(names.contains(name));
  CHECK_FALSE(names.contains("forward/relu1"));  // fused into conv1
  const size_t count = recorder.all.size();
  const RelevanceTrace alone = walk(Composite().at("conv2", std::make_shared<Doubling>()), {&tap, 1});
  CHECK(recorder.all.size() == count);
  CHECK(same_bits(seen.at(input).data, alone.at(input).data));
}

TEST_CASE_FIXTURE(Fixture, "cost: convolutions by hand, fused steps, and adjoints by targets") {
  const int conv1 = graph.find("conv1"), relu1 = graph.find("relu1"), add = graph.find("add");
  const double flops = 2.0 * 2 * 8 * 8 * 16 * 27;  // batch 2, 8x8 positions, 16 filters of 3x3x3
  const double x = 4.0 * 2 * 8 * 8 * 3, w = 4.0 * 16 * 27, b = 4.0 * 16, y = 4.0 * 2 * 8 * 8 * 16;
  CHECK(forward_cost(graph, conv1).flops == flops);
  CHECK(forward_cost(graph, conv1).bytes == x + w + b + y);
  CHECK(forward_cost(graph, relu1).flops == 0);
  CHECK(forward_cost(graph, relu1).bytes == 2 * y);
  CHECK(forward_cost(graph, graph.find("image")).bytes == 0);
  CHECK(vjp_cost(graph, conv1, 0, 3).flops == 3 * flops);
  CHECK(vjp_cost(graph, conv1, 0, 3).bytes == 3 * (x + y) + w);
  CHECK(vjp_cost(graph, conv1, 1).flops == flops);
  CHECK(vjp_cost(graph, conv1, 1).bytes == y + w + x);
  CHECK(vjp_cost(graph, conv1, 2).flops == 0);
  CHECK(vjp_cost(graph, relu1, 0, 3).bytes == 3 * 2 * y + y);
  const double sum = 4.0 * 2 * 2 * 2 * 32;  // [2, 2, 2, 32]
  CHECK(vjp_cost(graph, add, 0, 3).bytes == 3 * 2 * sum);
  CHECK(step_cost(graph, {.node = conv1, .addend = -1, .activation = Function::relu, .result = relu1}).bytes ==
        x + w + b + y);
  const int shortcut = graph.find("shortcut");
  const Cost fused =
      step_cost(graph, {.node = shortcut, .addend = graph.find("conv3"), .activation = Function::relu, .result = add});
  CHECK(fused.bytes == forward_cost(graph, shortcut).bytes + sum);
  double total = 0;
  for (const char* name : {"conv1", "conv2", "conv3", "shortcut", "logits"})
    total += forward_cost(graph, graph.find(name)).flops;
  CHECK(forward_cost(graph).flops == total);

  Recorder recorder;
  kernels.observe(&recorder);
  const Tap tap{input, Tap::Keep::message};
  walk(Composite(), {&tap, 1});
  kernels.observe(nullptr);
  CHECK(recorder.at("forward/conv1").cost.flops == flops);
  CHECK(recorder.at("vjp/conv1").cost.flops == 3 * flops);
}

TEST_CASE_FIXTURE(Fixture, "walk: the balance of a node names the rule that creates relevance") {
  // Input x gradient: only biases take relevance away, and only at nodes that have one.
  const std::vector<Tap> taps = balances(graph);
  for (const size_t chunk : {size_t{1}, size_t{1} << 30}) {
    const RelevanceTrace plain = walk(Composite(), taps, chunk);
    const RelevanceTrace doubled = walk(Composite().at("conv2", std::make_shared<Doubling>()), taps, chunk);
    for (const Tap& tap : taps) {
      const Node& node = graph.node(tap.node);
      CAPTURE(node.name);
      if (!node.op) continue;
      const bool has_bias = node.kind == OpKind::conv2d || node.kind == OpKind::linear;
      for (size_t row = 0; row < 6; ++row) {
        if (!has_bias)
          CHECK(plain.handed_on(tap.node)[row] == doctest::Approx(plain.sums(tap.node)[row]).epsilon(1e-4));
        if (tap.node == graph.find("conv2"))
          CHECK(doubled.handed_on(tap.node)[row] == doctest::Approx(2 * plain.handed_on(tap.node)[row]).epsilon(1e-4));
        else if (tap.node > graph.find("conv2"))
          CHECK(doubled.handed_on(tap.node)[row] == plain.handed_on(tap.node)[row]);
      }
    }
  }
  const Tap sums{logits, Tap::Keep::sums};
  CHECK_THROWS_AS(walk(Composite(), {&sums, 1}).handed_on(logits), Error);
}
