// How often a rule runs the op beyond the network's own pass (attribution.md B.6), and that constants are kept.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "attribution/composites.h"
#include "attribution/method.h"
#include "attribution/rules/activation_rules.h"
#include "attribution/rules/linear_rules.h"
#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/propagator.h"
#include "tests/attribution/networks.h"
#include "tests/support/small_nets.h"

using namespace hp;
using hp::testing::formula_parameters;
using hp::testing::formula_tensor;

namespace {

struct Calls {
  int forward = 0, adjoint = 0;
};

// A convolution that counts.
class CountingConv final : public Op {
 public:
  explicit CountingConv(Calls& calls) : inner_(Conv2dOp::Params{.padding = 1}), calls_(calls) {}
  OpKind kind() const override { return OpKind::conv2d; }
  Shape infer(std::span<const Shape> in) const override { return inner_.infer(in); }
  void forward(Context context, std::span<const Operand> in, const Fusion& fusion, Tensor out,
               Tensor saved) const override {
    ++calls_.forward;
    inner_.forward(context, in, fusion, out, saved);
  }
  void vjp(Context context, const Values& values, const Tensor& dy, int targets, int which, Tensor dx) const override {
    ++calls_.adjoint;
    inner_.vjp(context, values, dy, targets, which, dx);
  }
  Role role(int which) const override { return inner_.role(which); }
  bool linear_in(int which) const override { return inner_.linear_in(which); }
  bool fuses_relu() const override { return true; }
  int64_t flops(std::span<const Shape>) const override { return 1; }

 private:
  Conv2dOp inner_;
  Calls& calls_;
};

struct Runs {
  int forward, adjoint;
  bool operator==(const Runs&) const = default;
};

// Beyond the network's own forward pass; the second pass and walk, when constants are there. What the rule says of its
// cost must be the same.
Runs runs(const RulePtr& rule, bool nonnegative, bool before_relu) {
  CpuKernels kernels;
  Calls calls;
  Graph g;
  const Value x = g.input("x", {1, 4, 4, 3}, nonnegative);
  Value y =
      g.add(std::make_shared<CountingConv>(calls), {x, g.parameter("w", {5, 3, 3, 3}), g.parameter("b", {5})}, "conv");
  if (before_relu) y = relu(g, y, "relu");
  const Parameters parameters = formula_parameters(g);
  Composite composite;
  composite.on(OpKind::conv2d, rule).on(OpKind::relu, rules::pass());
  Executor executor(g, parameters, kernels, Keep::everything);
  Propagator propagator(g, composite, kernels);
  const Entry entry{y.index, {formula_tensor("m", {1, 4, 4, 5}), Form::multiplier, 1}};
  const Tap tap{x.index, Tap::Keep::message};
  for (int round = 0; round < 2; ++round) {
    const Activations pass = executor.run(formula_tensor("x", {1, 4, 4, 3}, 0.5f, 0.5f));
    calls = {};
    propagator.run(pass, {&entry, 1}, {&tap, 1});
  }
  const int conv = g.find("conv");
  CHECK(rule->prepare_cost(g, conv).flops == calls.forward);
  CHECK(rule->pull_cost(g, conv, 0, 1).flops == calls.adjoint);
  CHECK(rule->pull_cost(g, conv, 0, 9).flops == 9 * calls.adjoint);
  CHECK(rule->pull_cost(g, conv, 0, 9).bytes > rule->pull_cost(g, conv, 0, 1).bytes);
  return {calls.forward, calls.adjoint};
}

}  // namespace

TEST_CASE("rules: the cheapest evaluation that is exact") {
  for (const bool relu : {true, false}) {
    for (const bool nonnegative : {true, false}) {
      CHECK(runs(rules::epsilon(), nonnegative, relu) == Runs{0, 1});
      CHECK(runs(rules::z_box({-1}, {1}), nonnegative, relu) == Runs{0, 2});
      CHECK(runs(rules::w_square(), nonnegative, relu) == Runs{0, 1});
      CHECK(runs(rules::flat(), nonnegative, relu) == Runs{0, 1});
    }
    CHECK(runs(rules::z_plus(), true, relu) == Runs{1, 1});
    CHECK(runs(rules::z_plus(), false, relu) == Runs{2, 2});
    CHECK(runs(rules::alpha_beta(), true, relu) == Runs{1, 2});
    CHECK(runs(rules::alpha_beta(), false, relu) == Runs{2, 4});
    CHECK(runs(rules::gamma(), false, relu) == Runs{1, 2});
  }
  CHECK(runs(rules::gamma(), true, true) == Runs{1, 1});
  CHECK(runs(rules::gamma(), true, false) == Runs{1, 2});
}

TEST_CASE("walks: what they cost, counted from shapes") {
  const Backbone backbone = build_backbone("resnet50", {1, 224, 224});
  const Folded net = fold_norms(backbone.graph, hp::test::formula_parameters(backbone.graph, true));
  const int input = net.graph.find("model_input"), features = net.graph.find("features");
  const double forward = forward_cost(net.graph).flops;
  CHECK(forward == doctest::Approx(2 * 4.087e9).epsilon(0.001));  // 4.09 G multiply-adds, without the classifier
  const auto units = [&](const Composite& composite, int to, int64_t targets) {
    return walk_cost(net.graph, composite, to).of(targets).flops / forward;
  };
  CHECK(units(Composite(), input, 1) == doctest::Approx(2));
  CHECK(units(Composite(), input, 9) == doctest::Approx(10));
  CHECK(units(Composite(), features, 9) == doctest::Approx(1));
  const Composite gamma_box = CompositeSpec{}.build({.low = {0}, .high = {1}});
  // Gamma before a ReLU takes 1 + 1 runs beyond the pass, before an addition 1 + 2; zB 0 + 2 (attribution.md B.6).
  double prepare = 0, per_target = 0;
  for (int i = 0; i < net.graph.size(); ++i) {
    if (net.graph.node(i).kind != OpKind::conv2d) continue;
    const double flops = forward_cost(net.graph, i).flops / forward;
    const bool first = net.graph.node(i).name == "conv1";
    prepare += first ? 0 : flops;
    per_target += first || !is_rectified(net.graph, i) ? 2 * flops : flops;
  }
  CHECK(units(gamma_box, input, 1) == doctest::Approx(1 + prepare + per_target));
  CHECK(units(gamma_box, input, 9) == doctest::Approx(1 + prepare + 9 * per_target));
  MESSAGE("ResNet-50, gamma and zB: " << units(gamma_box, input, 1) << " forward passes for one target, "
                                      << units(gamma_box, input, 9) << " for nine");
  CHECK(make_attribution("lrp", {})->cost(net.graph).shared.flops == doctest::Approx((1 + prepare) * forward));
  CHECK(make_attribution("ixg", {})->cost(net.graph).per_target.flops == doctest::Approx(forward));
  CHECK(make_attribution("gradcam", {})->cost(net.graph).per_target.flops == 0);
  CHECK(make_attribution("gradcam", {{"layer", "layer4.2.conv3"}})->cost(net.graph).per_target.flops == 0);
  CHECK(make_attribution("gradcam", {{"layer", "layer4.2.conv2"}})->cost(net.graph).per_target.flops ==
        doctest::Approx(forward_cost(net.graph, net.graph.find("layer4.2.conv3")).flops));
  CHECK(make_attribution("intgrad", {{"nodes", 10}})->cost(net.graph).per_target.flops ==
        doctest::Approx(10 * forward));
}

TEST_CASE("rules: kept denominators follow the weights") {
  CpuKernels kernels;
  Graph g;
  const Value x = g.input("x", {2, 5, 5, 3});
  const Value w = g.parameter("w", {4, 3, 3, 3}), b = g.parameter("b", {4});
  const Value y = g.add(std::make_shared<Conv2dOp>(Conv2dOp::Params{.padding = 1}), {x, w, b}, "conv");
  const Tensor image = formula_tensor("x", {2, 5, 5, 3});
  const Entry entry{y.index, {formula_tensor("m", {2, 5, 5, 4}), Form::multiplier, 1}};
  const Tap tap{x.index, Tap::Keep::message};
  for (const RulePtr& rule : {rules::z_box({-2}, {2}), rules::w_square(), rules::flat()}) {
    Composite composite;
    composite.on(OpKind::conv2d, rule);
    auto walk = [&](Executor& executor) {
      Propagator propagator(g, composite, kernels);
      const RelevanceTrace trace = propagator.run(executor.run(image), {&entry, 1}, {&tap, 1});
      const Tensor& data = trace.at(x.index).data;
      return std::vector<float>(data.floats(), data.floats() + data.count());
    };
    Parameters changed = formula_parameters(g), fresh = formula_parameters(g);
    Executor first(g, changed, kernels, Keep::everything);
    const std::vector<float> before = walk(first);
    for (Parameters* parameters : {&changed, &fresh}) {
      parameters->set("w", formula_tensor("other w", {4, 3, 3, 3}));
      parameters->set("b", formula_tensor("other b", {4}));
    }
    Executor second(g, fresh, kernels, Keep::everything);
    const std::vector<float> after = walk(first);
    CHECK(after != before);
    CHECK(after == walk(second));
  }
}
