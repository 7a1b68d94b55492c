// B-cos layers: the numbers of protocol.md section 9, and what a walk does with the scale.
#include "runtime/ops/bcos.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "attribution/rules/bcos_rules.h"
#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/fold.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/ops/uncentred_norm.h"
#include "runtime/propagator.h"

using namespace hp;

namespace {

struct Net {
  Graph graph;
  Parameters parameters;
  CpuKernels kernels;
  std::unique_ptr<Executor> executor;

  Value parameter(const std::string& name, const Tensor& values) {
    parameters.set(name, values);
    return graph.parameter(name, values.shape());
  }
  Activations run(const Tensor& x) {
    executor = std::make_unique<Executor>(graph, parameters, kernels, Keep::everything);
    return executor->run(x);
  }
  std::vector<float> walk(const Activations& activations, const Composite& composite, const std::string& from,
                          const Tensor& seed) {
    Propagator propagator(graph, composite, kernels);
    const Entry entry{graph.find(from), {seed, Form::multiplier, 1}};
    const Tap tap{graph.find("x"), Tap::Keep::message};
    const RelevanceTrace trace = propagator.run(activations, std::span(&entry, 1), std::span(&tap, 1));
    const Tensor& found = trace.at(tap.node).data;
    return {found.floats(), found.floats() + found.count()};
  }
};

// x[ch, r, c] = (9 ch + 3 r + c - 5) / 7 as [1, 3, 3, 2]
Tensor image() {
  const Tensor x = Tensor::host({1, 3, 3, 2});
  for (int i = 0; i < 18; ++i) {
    const int position = i / 2;
    x.floats()[i] = static_cast<float>(9 * (i % 2) + position - 5) / 7;
  }
  return x;
}

// w[o, i, r, c] = (18 o + 9 i + 3 r + c - 17) / 10
Tensor weight() {
  const Tensor w = Tensor::host({2, 2, 3, 3});
  for (int i = 0; i < 36; ++i) w.floats()[i] = static_cast<float>(i - 17) / 10;
  return w;
}

// The protocol's numbers are float32 results themselves: a few units in the last place.
void check_near(std::span<const float> got, std::initializer_list<double> want, size_t step = 1) {
  size_t i = 0;
  for (const double value : want) {
    CHECK(std::abs(got[i] - value) < 3e-7 * std::max(1.0, std::abs(value)));
    i += step;
  }
}

Composite explanation() { return Composite().on(OpKind::bcos_scale, rules::detached_scale()); }

void add_golden_conv(Net& net, float b) {
  const Value x = net.graph.input("x", {1, 3, 3, 2});
  add_bcos_conv2d(net.graph, x, net.parameter("w", weight()), {.b = b, .conv = {.padding = 1}}, "conv");
}

}  // namespace

TEST_CASE("B-cos: the convolution of protocol.md section 9") {
  Net net;
  add_golden_conv(net, 2);
  const Activations activations = net.run(image());
  const Tensor& y = activations.value(net.graph.find("conv"));
  check_near({y.floats(), 18},
             {.06120901, .05363401, .00538046, .00348981, -.00783989, -.04605623, -.11046493, -.34515291, -.30471712},
             2);
  check_near({y.floats() + 1, 17},
             {.49046755, 1.10208514, .68336612, 1.50862026, 2.99218059, 1.68718541, .86973268, 1.61882484, .86234754},
             2);
  const Tensor seed = Tensor::host({1, 3, 3, 2});
  std::fill_n(seed.floats(), 18, 0.0f);
  seed.floats()[8] = 1;  // row 1, column 1, channel 0
  const std::vector<float> gradient = net.walk(activations, {}, "conv", seed);
  check_near(gradient, {-.03697534, -.03474538, -.03251541}, 2);
  CHECK(std::abs(gradient[17] - .00093411) < 2e-7);
  const std::vector<float> explained = net.walk(activations, explanation(), "conv", seed);
  check_near(explained, {-.01829306, -.01721700, -.01614094}, 2);
  CHECK(explained[17] == 0);
  double sum = 0;
  const Tensor x = image();
  for (int i = 0; i < 18; ++i) sum += static_cast<double>(x.floats()[i]) * explained[static_cast<size_t>(i)];
  CHECK(std::abs(sum - -.00783989) < 2e-7);
}

TEST_CASE("B-cos: B = 1.5, and B = 1 is the product") {
  Net power, product;
  add_golden_conv(power, 1.5f);
  add_golden_conv(product, 1);
  const Tensor y = power.run(image()).value(power.graph.find("conv"));
  check_near({y.floats(), 18}, {.14671247, .14124054, .02412851}, 2);
  CHECK(std::abs(y.floats()[9] - 3.17497444) < 2e-6);
  CHECK(product.graph.find("conv") == product.graph.find("conv.linear"));
}

TEST_CASE("B-cos: the linear layer of protocol.md section 9, whose norm has its epsilon outside") {
  Net net;
  const float w[] = {1, 2, 2, 0, -3, 4}, rows[] = {3, 0, 4, 0, 0, 0};
  const Value x = net.graph.input("x", {2, 3});
  add_bcos_linear(net.graph, x, net.parameter("w", Tensor::host({2, 3}, w)), {.conv = {}}, "fc");
  const Activations activations = net.run(Tensor::host({2, 3}, rows));
  const Tensor& y = activations.value(net.graph.find("fc"));
  check_near({y.floats(), 4}, {2.68888903, 2.04800010, 0, 0});
  const float ones[] = {1, 1, 1, 1};
  for (const float slope : net.walk(activations, {}, "fc", Tensor::host({2, 2}, ones))) CHECK(std::isfinite(slope));
}

TEST_CASE("B-cos: uncentred batch norm of protocol.md section 9") {
  Net net;
  const float weight[] = {2, .5f};
  const Value x = net.graph.input("x", {1, 3, 3, 2});
  const Value w = net.parameter("w", Tensor::host({2}, weight));
  const Value y = net.graph.add(std::make_shared<UncentredNormTrainOp>(1e-5f), {x, w}, "norm");
  const Activations activations = net.run(image());
  check_near({activations.value(y.index).floats(), 18}, {-3.87284088, -3.09827280, -2.32370448}, 2);
  const float* variance = activations.saved(y.index).floats() + 2;
  const float running[] = {0.9f + 0.1f * variance[0], 0.9f + 0.1f * variance[1]};
  CHECK(std::abs(running[0] - .91360539) < 1e-6);
  CHECK(std::abs(running[1] - .91360539) < 1e-6);

  Net eval;
  const Value input = eval.graph.input("x", {1, 3, 3, 2});
  const Value v = eval.parameter("v", Tensor::host({2}, running)), g = eval.parameter("w", Tensor::host({2}, weight));
  const Value normed = eval.graph.add(std::make_shared<UncentredNormOp>(1e-5f), {input, v, g}, "norm");
  const Tensor out = eval.run(image()).value(normed.index);
  check_near({out.floats(), 18}, {-1.49458385, -1.19566703, -.89675027, -.59783351}, 2);
}

TEST_CASE("B-cos: a folded norm changes neither the layer nor its gradient nor its explanation") {
  const float variance[] = {.4f, 2.5f}, weights[] = {-1.75f, .5f};
  for (const int64_t count : {2, 1}) {  // one number for each channel, or one for all
    Net net;
    add_golden_conv(net, 2);
    const Value y{net.graph.find("conv")};
    const Value v = net.parameter("norm.running_var", Tensor::host({count}, std::span(variance).first(count)));
    const Value w = net.parameter("norm.weight", Tensor::host({count}, std::span(weights).first(count)));
    net.graph.add(std::make_shared<UncentredNormOp>(1e-5f), {y, v, w}, "norm");
    Folded merged = fold_norms(net.graph, net.parameters);
    CHECK(merged.graph.find("norm") == merged.graph.find("conv"));
    CHECK_FALSE(merged.graph.contains("norm.weight"));
    CHECK(merged.graph.find("conv.unit_weight") == merged.graph.find("w"));
    CHECK(merged.bias_of.empty());
    Net folded;
    folded.graph = std::move(merged.graph);
    folded.parameters = std::move(merged.parameters);
    const Activations before = net.run(image()), after = folded.run(image());
    const auto values = [](const Net& of, const Activations& activations, const char* name) {
      const Tensor value = activations.value(of.graph.find(name));
      return std::vector<float>(value.floats(), value.floats() + value.count());
    };
    const auto check_same = [](const std::vector<float>& got, const std::vector<float>& want) {
      REQUIRE(got.size() == want.size());
      for (size_t i = 0; i < want.size(); ++i) CHECK(std::abs(got[i] - want[i]) < 1e-6 * (1 + std::abs(want[i])));
    };
    check_same(values(folded, after, "norm"), values(net, before, "norm"));
    CHECK(values(net, before, "norm") != values(net, before, "conv"));
    const Tensor seed = Tensor::host({1, 3, 3, 2}, values(net, before, "conv"));
    for (const Composite& composite : {Composite(), explanation()}) {
      check_same(folded.walk(after, composite, "norm", seed), net.walk(before, composite, "norm", seed));
    }
  }
}

TEST_CASE("B-cos: a norm stays where the layer's power or another reader of it would not allow a factor") {
  const auto keeps = [](float b, int64_t max_out, bool reads) {
    Net net;
    const Value x = net.graph.input("x", {1, 3, 3, 2});
    const BcosParams params{.b = b, .max_out = max_out, .conv = {.padding = 1}};
    const Value y = add_bcos_conv2d(net.graph, x, net.parameter("w", weight()), params, "conv");
    const Tensor ones = Tensor::host({net.graph.shape(y)[-1]});
    std::fill_n(ones.floats(), ones.count(), 1.0f);
    const Value v = net.parameter("v", ones), g = net.parameter("g", ones);
    const Value norm = net.graph.add(std::make_shared<UncentredNormOp>(1e-5f), {y, v, g}, "norm");
    if (reads) net.graph.add(std::make_shared<AddOp>(), {norm, y}, "sum");
    return fold_norms(net.graph, net.parameters).graph.contains("v");
  };
  CHECK_FALSE(keeps(2, 1, false));
  CHECK(keeps(1.5f, 1, false));
  CHECK(keeps(1, 1, false));
  CHECK(keeps(2, 2, false));
  CHECK(keeps(2, 1, true));
}

TEST_CASE("B-cos: the scale adds a shortcut on its way, unless somebody reads the values before") {
  Net net;
  add_golden_conv(net, 2);
  const Value x{net.graph.find("x")}, y{net.graph.find("conv")};
  net.graph.add(std::make_shared<AddOp>(), {y, x}, "sum");
  Executor fused(net.graph, net.parameters, net.kernels, Keep::outputs);
  const Activations sums = fused.run(image()), parts = net.run(image());
  CHECK_THROWS_AS(sums.value(y.index), Error);
  const Tensor sum = sums.value(net.graph.find("sum")), part = parts.value(y.index), in = image();
  for (int64_t i = 0; i < sum.count(); ++i) {
    CHECK(std::abs(sum.floats()[i] - (part.floats()[i] + in.floats()[i])) < 2e-7 * (1 + std::abs(sum.floats()[i])));
  }
}

// AllNormUncentered2d(2) of the bcos package 0.1.3 in double precision, weight 1.5, on image() with messages
// ((5 i) mod 7 - 3) / 4.
TEST_CASE("B-cos: one variance over everything") {
  Net net, eval;
  const float weight[] = {1.5f}, running[] = {0.9549319727891157f};
  const Tensor x = image(), message = Tensor::host({1, 3, 3, 2});
  for (int i = 0; i < 18; ++i) message.floats()[i] = static_cast<float>(5 * i % 7 - 3) / 4;
  const Value in = net.graph.input("x", {1, 3, 3, 2}), w = net.parameter("w", Tensor::host({1}, weight));
  const Value y = net.graph.add(std::make_shared<UncentredNormTrainOp>(1e-5f), {in, w}, "norm");
  const Activations trained = net.run(x);
  check_near({trained.value(y.index).floats(), 18}, {-1.44559512, 1.15647609, -1.15647609, 1.44559512, -0.86735707});
  CHECK(trained.saved(y.index).shape() == Shape{2, 1});
  CHECK(std::abs(0.9f + 0.1f * trained.saved(y.index).floats()[1] - running[0]) < 1e-6);
  const std::vector<float> dx = net.walk(trained, {}, "norm", message);
  check_near(dx, {-1.52675117, 1.01243872, -0.00783203, -1.01035018, 1.51108711, 0.50856897});

  const Value input = eval.graph.input("x", {1, 3, 3, 2}), v = eval.parameter("v", Tensor::host({1}, running)),
              g = eval.parameter("w", Tensor::host({1}, weight));
  const Value normed = eval.graph.add(std::make_shared<UncentredNormOp>(1e-5f), {input, v, g}, "norm");
  const Activations given = eval.run(x);
  check_near({given.value(normed.index).floats(), 18}, {-1.0964144, 0.87713152, -0.87713152, 1.0964144, -0.65784864});
  check_near(eval.walk(given, {}, "norm", message), {-1.15123512, 0.76749008, 0, -0.76749008, 1.15123512, 0.38374504});

  for (const auto& [graph, activations, norm, expected] : {std::tuple(&net, &trained, y, -0.04818650386562462),
                                                           std::tuple(&eval, &given, normed, -0.036547146781658046)}) {
    const Entry entry{norm.index, {message, Form::multiplier, 1}};
    const Tap tap{graph->graph.find("w"), Tap::Keep::message};
    const RelevanceTrace trace =
        Propagator(graph->graph, {}, graph->kernels).run(*activations, std::span(&entry, 1), std::span(&tap, 1));
    CHECK(trace.at(tap.node).data.shape().count() == 1);
    CHECK(std::abs(trace.at(tap.node).data.floats()[0] - expected) < 1e-6);
  }
}

TEST_CASE("B-cos: a detached scale sends nothing to the norm, in either form") {
  Net net;
  add_golden_conv(net, 2);
  const Activations activations = net.run(image());
  Propagator propagator(net.graph, explanation(), net.kernels);
  const Tensor seed = Tensor::host({1, 3, 3, 2});
  std::fill_n(seed.floats(), 18, 1.0f);
  const Entry entry{net.graph.find("conv"), {seed, Form::multiplier, 1}};
  const std::vector<Tap> taps = {{net.graph.find("x"), Tap::Keep::message}, {net.graph.find("conv.norm"), {}}};
  CHECK_THROWS_AS(propagator.run(activations, std::span(&entry, 1), taps).at(net.graph.find("conv.norm")).data.floats(),
                  Error);

  Composite relevance = Composite().otherwise(std::make_shared<VjpRule>());
  relevance.on(OpKind::bcos_scale, rules::detached_scale(Form::relevance));
  Propagator carried(net.graph, relevance, net.kernels);
  const Tap product{net.graph.find("conv.linear"), Tap::Keep::message};
  const RelevanceTrace trace = carried.run(activations, std::span(&entry, 1), std::span(&product, 1));
  const Message& message = trace.at(product.node);
  REQUIRE(message.form == Form::relevance);
  const float* y = activations.value(net.graph.find("conv")).floats();
  for (int i = 0; i < 18; ++i) CHECK(message.data.floats()[i] == y[i]);
}

TEST_CASE("B-cos: what does not fit is refused") {
  Graph graph;
  const Value x = graph.input("x", {1, 4, 4, 6}), w = graph.parameter("w", {4, 6, 3, 3});
  CHECK_THROWS_WITH_AS(add_bcos_conv2d(graph, x, w, {.b = 0.5f, .conv = {.padding = 1}}, "a"),
                       doctest::Contains("B out of range; got 0.5"), Error);
  CHECK_THROWS_WITH_AS(add_bcos_conv2d(graph, x, w, {.max_out = 3, .conv = {.padding = 1}}, "b"),
                       doctest::Contains("units do not divide"), Error);
  const Value norms = graph.add(std::make_shared<PatchNormOp>(PatchNormOp::Params{}), {x}, "norms");
  CHECK_THROWS_WITH_AS(graph.add(std::make_shared<BcosScaleOp>(2.0f), {w, norms}, "c"),
                       doctest::Contains("norms do not fit"), Error);
}
