// Rules in whole networks: conservation, the two forms, copied residuals, and combinations that make no sense.
#include <doctest/doctest.h>

#include "attribution/composites.h"
#include "attribution/rules/activation_rules.h"
#include "attribution/rules/linear_rules.h"
#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/propagator.h"
#include "tests/support/small_nets.h"

using namespace hp;
using hp::testing::formula_parameters;
using hp::testing::formula_tensor;
using hp::testing::small_resnet;

namespace {

Value conv(Graph& g, Value x, const std::string& name, int64_t filters, Conv2dOp::Params params, int64_t kernel,
           bool bias) {
  std::vector<Value> inputs{x, g.parameter(name + ".weight", {filters, g.shape(x)[-1], kernel, kernel})};
  if (bias) inputs.push_back(g.parameter(name + ".bias", {filters}));
  return g.add(std::make_shared<Conv2dOp>(params), inputs, name);
}

Value add_relu(Graph& g, Value a, Value b, const std::string& name) {
  return relu(g, g.add(std::make_shared<AddOp>(), {a, b}, name + ".add"), name);
}

// Two residual blocks, the second with a strided projection; every layer cut is one node.
Graph residual_net(bool bias) {
  Graph g;
  Value x = g.input("model_input", {2, 8, 8, 3});
  x = relu(g, conv(g, x, "conv1", 24, {.padding = 1}, 3, bias), "relu");
  x = max_pool(g, x, {.window = 3, .stride = 2, .padding = 1}, "maxpool");
  Value y = relu(g, conv(g, x, "block1.conv1", 24, {.padding = 1}, 3, bias), "block1.relu1");
  x = add_relu(g, conv(g, y, "block1.conv2", 24, {.padding = 1}, 3, bias), x, "block1");
  y = relu(g, conv(g, x, "block2.conv1", 32, {.stride = 2, .padding = 1}, 3, bias), "block2.relu1");
  y = conv(g, y, "block2.conv2", 32, {.padding = 1}, 3, bias);
  x = add_relu(g, y, conv(g, x, "block2.downsample", 32, {.stride = 2}, 1, bias), "block2");
  x = g.add(std::make_shared<AvgPoolOp>(), {x}, "pool");
  x = g.add(std::make_shared<ReshapeOp>(Shape{32}), {x}, "flatten");
  g.add(std::make_shared<LinearOp>(), {x, g.parameter("fc.weight", {5, 32})}, "logits");
  return g;
}

const std::vector<std::string> cuts = {"model_input", "relu", "maxpool", "block1",
                                       "block2",      "pool", "flatten", "logits"};

// One network, one composite, one walk from two logits, with everything at hand afterwards.
struct Walk {
  Walk(Graph g, const Composite& composite, std::vector<std::string> whole = {"model_input"}) : graph(std::move(g)) {
    parameters = formula_parameters(graph);
    Executor executor(graph, parameters, kernels, Keep::everything, composite.pins(graph));
    pass = executor.run(formula_tensor("image", {2, 8, 8, 3}));
    Propagator propagator(graph, composite, kernels);
    const int logits = graph.find("logits");
    Tensor seeds = Tensor::host({4, 5});
    std::fill_n(seeds.floats(), seeds.count(), 0.0f);
    for (int64_t row = 0; row < 4; ++row) seeds.floats()[row * 5 + 1 + row / 2 * 2] = 1;  // classes 1 and 3
    std::vector<Tap> taps;
    for (const std::string& name : whole) taps.push_back({graph.find(name), Tap::Keep::message});
    for (int i = 0; i < graph.size(); ++i) {
      const bool is_whole = std::any_of(taps.begin(), taps.end(), [&](const Tap& tap) { return tap.node == i; });
      if (graph.node(i).kind != OpKind::parameter && !is_whole) taps.push_back({i, Tap::Keep::sums});
    }
    const Entry entry{logits, {seeds, Form::multiplier, 2}};
    trace = propagator.run(pass, {&entry, 1}, taps);
  }

  // The relevance of each row at a node.
  std::vector<double> sums(const std::string& name) const {
    const int node = graph.find(name);
    if (name != "model_input") {
      const std::vector<float>& kept = trace.sums(node);
      return std::vector<double>(kept.begin(), kept.end());
    }
    std::vector<double> result(4, 0.0);
    const std::vector<float> r = relevance(name);
    for (size_t i = 0; i < r.size(); ++i) result[i / (r.size() / 4)] += r[i];
    return result;
  }

  std::vector<float> relevance(const std::string& name) const {
    const int node = graph.find(name);
    const Message& message = trace.at(node);
    const Tensor value = pass.value(node);
    std::vector<float> r(message.data.floats(), message.data.floats() + message.data.count());
    for (size_t i = 0; i < r.size() && message.form == Form::multiplier; ++i)
      r[i] *= value.floats()[i % static_cast<size_t>(value.count())];
    return r;
  }

  CpuKernels kernels;
  Graph graph;
  Parameters parameters;
  Activations pass;
  RelevanceTrace trace;
};

// The composite of the LRP family in a form of choice, with the norm rule on additions in both.
Composite lrp(Form form, const RulePtr& on_conv, const RulePtr& on_first) {
  Composite composite;
  composite.otherwise(std::make_shared<VjpRule>(form)).on(OpKind::conv2d, on_conv).first(OpKind::conv2d, on_first);
  composite.on(OpKind::linear, rules::epsilon({.form = form})).on(OpKind::relu, rules::pass(form));
  composite.on(OpKind::add, rules::norm({.form = form})).on(OpKind::avg_pool, rules::norm({.form = form}));
  return form == Form::relevance ? composite.reads_preactivations() : composite;
}

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - want[i], 2);
    norm += std::pow(static_cast<double>(want[i]), 2);
  }
  return got.size() == want.size() && norm > 0 ? std::sqrt(difference / norm) : 1e30;
}

const InputBox box{{-2, -2, -2}, {2, 2, 2}};

// The largest deviation of a layer's relevance from that of the logits, relative to it.
double largest_loss(const Walk& walk) {
  const std::vector<double> start = walk.sums("logits");
  double worst = 0;
  for (const std::string& cut : cuts) {
    const std::vector<double> sums = walk.sums(cut);
    for (size_t row = 0; row < 4; ++row) worst = std::max(worst, std::abs(sums[row] / start[row] - 1));
  }
  return worst;
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("rules: relevance is conserved without biases, and the loss with biases is reported") {
  for (const char* name : {"epsilon_gamma_box", "epsilon_plus", "epsilon_plus_flat"}) {
    CompositeSpec spec;
    spec.base = name;
    const Composite composite = spec.build(box);
    CHECK(largest_loss(Walk(residual_net(false), composite)) < 1e-3);
    const double loss = largest_loss(Walk(residual_net(true), composite));
    MESSAGE(std::string(name) << ": " << loss << " of the relevance is lost or gained with biases");
    CHECK(std::isfinite(loss));
    CHECK(loss > 1e-3);  // biases do absorb
  }
}

TEST_CASE("rules: alpha-beta creates relevance where nothing negative arrives, in the measure of B.8") {
  CompositeSpec spec;
  spec.base = "epsilon_alpha2_beta1";
  const Walk walk(residual_net(false), spec.build(box));
  const std::vector<double> start = walk.sums("logits"), end = walk.sums("model_input");
  for (size_t row = 0; row < 4; ++row) {
    CHECK(std::isfinite(end[row]));
    CHECK(walk.sums("block2")[row] == doctest::Approx(start[row]).epsilon(1e-3));  // epsilon, norm, norm
  }
}

TEST_CASE("rules: multipliers and relevance agree") {
  for (const bool bias : {true, false}) {
    struct Pair {
      RulePtr multiplier, relevance, first_multiplier, first_relevance;
    };
    const rules::LinearOptions r{.form = Form::relevance};
    const std::vector<Pair> pairs = {
        {rules::gamma(), rules::gamma(0.25f, r), rules::z_box({-2}, {2}), rules::z_box({-2}, {2}, r)},
        {rules::z_plus(), rules::z_plus(r), rules::flat(), rules::flat(r)},
        {rules::alpha_beta(), rules::alpha_beta(2, 1, r), rules::w_square(), rules::w_square(r)},
        {rules::epsilon({.stabiliser = 1e-2f}), rules::epsilon({Form::relevance, 1e-2f, false}),
         rules::epsilon({.stabiliser = 1e-2f}), rules::epsilon({Form::relevance, 1e-2f, false})}};
    for (const Pair& pair : pairs) {
      const Walk m(residual_net(bias), lrp(Form::multiplier, pair.multiplier, pair.first_multiplier));
      const Walk relevance(residual_net(bias), lrp(Form::relevance, pair.relevance, pair.first_relevance));
      CAPTURE(pair.multiplier->name());
      CHECK(relative_error(m.relevance("model_input"), relevance.relevance("model_input")) < 1e-4);
    }
  }
}

TEST_CASE("rules: LRP-0 without biases is input x gradient") {
  const RulePtr zero = rules::epsilon({.stabiliser = 0});
  Composite composite = lrp(Form::multiplier, zero, zero);
  composite.on(OpKind::linear, zero).on(OpKind::add, rules::norm({.stabiliser = 0}));
  composite.on(OpKind::avg_pool, rules::norm({.stabiliser = 0}));
  const Walk walk(residual_net(false), composite), gradient(residual_net(false), Composite());
  CHECK(walk.relevance("model_input") == gradient.relevance("model_input"));
  // Relevance, too, where LRP-0 divides by the values themselves.
  const RulePtr zero_relevance = rules::epsilon({Form::relevance, 0, false});
  Composite divided = lrp(Form::relevance, zero_relevance, zero_relevance);
  divided.on(OpKind::linear, zero_relevance).on(OpKind::add, rules::norm({Form::relevance, 0, false}));
  divided.on(OpKind::avg_pool, rules::norm({Form::relevance, 0, false}));
  CHECK(relative_error(Walk(residual_net(false), divided).relevance("model_input"), gradient.relevance("model_input")) <
        1e-4);
}

TEST_CASE("rules: copied residuals double the relevance of every addition") {
  CompositeSpec spec;
  spec.residual = Residual::copy;
  const Walk walk(residual_net(false), spec.build(box), {"model_input", "block1.add", "block1.conv2"});
  // Both branches get what the sum got, element by element, also where activations are 0.
  CHECK(walk.relevance("block1.conv2") == walk.relevance("block1.add"));
  const std::vector<double> start = walk.sums("logits"), second = walk.sums("block2.add");
  const std::vector<double> branch = walk.sums("block2.conv2"), shortcut = walk.sums("block2.downsample");
  const std::vector<double> end = walk.sums("model_input");
  for (size_t row = 0; row < 4; ++row) {
    CHECK(second[row] == doctest::Approx(start[row]).epsilon(1e-3));
    CHECK(branch[row] == doctest::Approx(second[row]).epsilon(1e-5));
    CHECK(shortcut[row] == doctest::Approx(second[row]).epsilon(1e-5));
  }
  // Relevance did reach activations that are 0, where multipliers could not carry it on.
  const Tensor value = walk.pass.value(walk.graph.find("block1.conv2"));
  const std::vector<float> r = walk.relevance("block1.conv2");
  int64_t at_negative = 0;
  for (size_t i = 0; i < r.size(); ++i)
    at_negative += r[i] != 0 && value.floats()[i % static_cast<size_t>(value.count())] <= 0;
  CHECK(at_negative > 0);
}

TEST_CASE("rules: combinations that make no sense are refused") {
  const Graph g = residual_net(true);
  CpuKernels kernels;
  auto refusal = [&](const Composite& composite) {
    return error_of([&] { Walk walk(residual_net(true), composite); });
  };
  // w2's relevance in the middle cannot go on as a multiplier.
  CHECK(refusal(Composite().at("block2.conv1", rules::w_square())).find("cannot go on as a multiplier") !=
        std::string::npos);
  CHECK(refusal(Composite().on(OpKind::avg_pool, rules::z_plus())).find("z_plus (chosen for its kind avg_pool)") !=
        std::string::npos);
  CHECK(refusal(Composite().at("relu", rules::epsilon())).find("expected an op that is linear") != std::string::npos);
  CHECK(refusal(Composite().on(OpKind::conv2d, rules::guided_relu())).find("expected a relu") != std::string::npos);
  // Relevance rules need the values before their ReLUs.
  const std::string unpinned = refusal(Composite().at("conv1", rules::gamma(0.25f, {.form = Form::relevance})));
  CHECK(unpinned.find("expected a pinned node") != std::string::npos);

  Graph with_softmax;
  const Value x = with_softmax.input("x", {1, 4});
  with_softmax.add(std::make_shared<SoftmaxOp>(false), {x}, "softmax");
  const std::string softmax = error_of([&] {
    Propagator propagator(with_softmax, Composite().otherwise(std::make_shared<VjpRule>(Form::relevance)), kernels);
  });
  CHECK(softmax.find("'softmax'") != std::string::npos);
  CHECK(softmax.find("moves values") != std::string::npos);

  CHECK(error_of([] { rules::alpha_beta(2, 2); }).find("alpha - beta = 1") != std::string::npos);
  CHECK(error_of([] { rules::gamma(-1); }).find("gamma out of range") != std::string::npos);
  CHECK(error_of([] { rules::z_box({1}, {0}); }).find("swapped") != std::string::npos);
  CHECK(refusal(Composite().first(OpKind::conv2d, rules::z_box({0, 0}, {1, 1}))).find("2 values; expected 3") !=
        std::string::npos);
}

TEST_CASE("rules: guided backpropagation and deconvnet at a ReLU") {
  CpuKernels kernels;
  Graph g;
  const Value x = g.input("x", {1, 4});
  const Value y = relu(g, x, "relu");
  const Parameters parameters;
  Executor executor(g, parameters, kernels, Keep::everything);
  const Activations pass = executor.run(Tensor::host({1, 4}, std::vector<float>{1, -1, 2, 0}));
  auto walk = [&](const RulePtr& rule) {
    Propagator propagator(g, Composite().on(OpKind::relu, rule), kernels);
    const Tensor m = Tensor::host({2, 4}, std::vector<float>{3, 4, -5, 6, -1, -2, 7, -8});
    const Entry entry{y.index, {m, Form::multiplier, 2}};
    const Tap tap{x.index, Tap::Keep::message};
    const RelevanceTrace trace = propagator.run(pass, {&entry, 1}, {&tap, 1});
    const Tensor& data = trace.at(x.index).data;
    return std::vector<float>(data.floats(), data.floats() + data.count());
  };
  CHECK(walk(rules::guided_relu()) == std::vector<float>{3, 0, 0, 0, 0, 0, 7, 0});
  CHECK(walk(rules::deconvnet_relu()) == std::vector<float>{3, 4, 0, 6, 0, 0, 7, 0});
  CHECK(walk(rules::pass()) == std::vector<float>{3, 0, -5, 0, -1, 0, 7, 0});
  CHECK(walk(rules::relu_mask()) == std::vector<float>{3, 0, -5, 0, -1, 0, 7, 0});
}

TEST_CASE("rules: a batch norm that could not be folded has the epsilon rule") {
  const Graph g = small_resnet(2);
  CompositeSpec spec;
  spec.base = "epsilon_plus";
  const Composite composite = spec.build({});
  const Parameters parameters = formula_parameters(g);
  CpuKernels kernels;
  Executor executor(g, parameters, kernels, Keep::everything);
  const Activations pass = executor.run(formula_tensor("image", {2, 8, 8, 3}));
  Propagator propagator(g, composite, kernels);
  Tensor seeds = Tensor::host({2, 5});
  std::fill_n(seeds.floats(), 10, 1.0f);
  const Entry entry{g.find("logits"), {seeds, Form::multiplier, 1}};
  const std::vector<Tap> taps{{g.find("bn3"), Tap::Keep::message}, {g.find("conv3"), Tap::Keep::message}};
  const RelevanceTrace trace = propagator.run(pass, {&entry, 1}, taps);
  // R_x = x k R / stab(y), that is M_x = k M_y y / stab(y).
  const Tensor y = pass.value(g.find("bn3")), m = trace.at(g.find("bn3")).data, got = trace.at(g.find("conv3")).data;
  Tensor want = Tensor::host(got.shape());
  const float* weight = parameters.at("bn3.weight").floats();
  const float* variance = parameters.at("bn3.running_var").floats();
  for (int64_t i = 0; i < want.count(); ++i) {
    const float value = y.floats()[i], k = weight[i % 32] / std::sqrt(variance[i % 32] + 1e-5f);
    want.floats()[i] = k * m.floats()[i] * value / (value + (value < 0 ? -1e-6f : 1e-6f));
  }
  CHECK(hp::testing::relative_error(got, want) < 1e-6);
}
