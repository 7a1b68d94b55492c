// B-cos layers, norms and heads against torch in double precision: training gradients, explanations, relevance.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "attribution/composites.h"
#include "attribution/rules/bcos_rules.h"
#include "kernels/cpu/cpu_kernels.h"
#include "probes/graph_training.h"
#include "probes/probe.h"
#include "runtime/ops/bcos.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/uncentred_norm.h"
#include "runtime/propagator.h"
#include "tests/golden/formula.h"
#include "tests/golden/golden_data.h"

namespace hp::golden {

namespace {

Tensor formula_tensor(const std::string& name, const Shape& shape) {
  return Tensor::host(shape, signed_tensor(name, static_cast<size_t>(shape.count())));
}

// A graph with one input and its parameters, walked from `output`.
struct Net {
  Graph graph;
  Parameters parameters;
  CpuKernels kernels;

  Value parameter(const std::string& name, const Tensor& values) {
    parameters.set(name, values);
    return graph.parameter(name, values.shape());
  }
  Activations run(const Tensor& x) {
    executor = std::make_unique<Executor>(graph, parameters, kernels, Keep::everything);
    return executor->run(x);
  }
  // The message of `node` for a message at `output`.
  Tensor walk(const Activations& activations, const Composite& composite, int output, const Tensor& message, int node) {
    Propagator propagator(graph, composite, kernels);
    const Entry entry{output, {message, Form::multiplier, 1}};
    const Tap tap{node, Tap::Keep::message};
    const RelevanceTrace trace = propagator.run(activations, std::span(&entry, 1), std::span(&tap, 1));
    const Tensor& found = trace.at(node).data;
    return Tensor::host(found.shape(), std::span<const float>(found.floats(), static_cast<size_t>(found.count())));
  }
  std::unique_ptr<Executor> executor;
};

Composite explanation() { return Composite().on(OpKind::bcos_scale, rules::detached_scale()); }

struct Layer {
  std::string name;
  int64_t channels, filters, kernel, side;
  BcosParams params;
};

const std::vector<Layer>& layers() {
  static const std::vector<Layer> all = {
      {"conv", 6, 8, 3, 9, {.conv = {.padding = 1}}},
      {"stride", 6, 8, 3, 10, {.conv = {.stride = 2, .padding = 1}}},
      {"groups", 8, 12, 3, 7, {.conv = {.padding = 1, .groups = 4}}},
      {"dilation", 4, 6, 3, 9, {.conv = {.padding = 2, .dilation = 2}}},
      {"stem", 6, 8, 7, 16, {.conv = {.stride = 2, .padding = 3}}},
      {"pointwise", 64, 20, 1, 5, {}},
      {"max_out", 6, 8, 3, 7, {.max_out = 2, .conv = {.padding = 1}}},
      {"power15", 6, 8, 3, 7, {.b = 1.5f, .conv = {.padding = 1}}},
      {"power3", 6, 8, 3, 7, {.b = 3, .conv = {.padding = 1}}},
      {"power1", 6, 8, 3, 7, {.b = 1, .conv = {.padding = 1}}},
  };
  return all;
}

void check_layer(Comparison& comparison, Net& net, const std::string& name, const Tensor& x) {
  const int y = net.graph.find(name), input = net.graph.find("x"), weight = net.graph.find(name + ".w");
  const Activations activations = net.run(x);
  comparison.check(name + "/y", activations.value(y));
  const Tensor message = formula_tensor(name + "/M", net.graph.node(y).shape);
  comparison.check(name + "/dx", net.walk(activations, {}, y, message, input));
  const Tensor dw = net.walk(activations, {}, y, message, weight);
  const Shape& shape = dw.shape();  // the file's conv weights have an axis in front
  comparison.check(name + "/dw", shape.rank() == 4 ? dw.reshaped({1, shape[0], shape[1], shape[2], shape[3]}) : dw);
  comparison.check(name + "/explanation", net.walk(activations, explanation(), y, message, input));
}

// Walks from y, the node of that name, to the input and to the weight.
void check_norm(Comparison& comparison, Net& net, const std::string& name, const std::string& mode, const Tensor& x) {
  const Activations activations = net.run(x);
  const int y = net.graph.find("y");
  const Tensor message = formula_tensor(name + "/M", x.shape());
  comparison.check(name + "/" + mode + "/y", activations.value(y));
  comparison.check(name + "/" + mode + "/dx", net.walk(activations, {}, y, message, net.graph.find("x")));
  comparison.check(name + "/" + mode + "/dweight", net.walk(activations, {}, y, message, net.graph.find("w")));
}

// What a trainer makes of the batch's variance [channels], starting from 1.
Tensor running_variance(const float* variance, int64_t channels, float correction) {
  const Tensor running = Tensor::host({channels});
  for (int64_t c = 0; c < channels; ++c) running.floats()[c] = 0.9f + 0.1f * correction * variance[c];
  return running;
}

constexpr int64_t norm_channels = 10;
constexpr float epsilon = 1e-5f;

struct NormNet : Net {
  Tensor x;
  Value input, weight;
  explicit NormNet(const std::string& name) : x(formula_tensor(name + "/x", {3, 5, 4, norm_channels})) {
    for (int64_t i = 0; i < x.count(); ++i) x.floats()[i] = 2 * x.floats()[i] + 0.5f;
    input = graph.input("x", x.shape());
    weight = parameter("w", Tensor::host({norm_channels}, golden::parameter(name + ".weight", {norm_channels}, false)));
  }
};

}  // namespace

TEST_CASE("golden: B-cos layers") {
  const GoldenFile file("bcos_layers");
  Comparison comparison(file);
  for (const Layer& layer : layers()) {
    Net net;
    const Shape shape{2, layer.side, layer.side, layer.channels};
    const Shape weight{layer.filters * layer.params.max_out, layer.channels / layer.params.conv.groups, layer.kernel,
                       layer.kernel};
    const Value x = net.graph.input("x", shape);
    add_bcos_conv2d(net.graph, x, net.parameter(layer.name + ".w", formula_tensor(layer.name + "/w", weight)),
                    layer.params, layer.name);
    check_layer(comparison, net, layer.name, formula_tensor(layer.name + "/x", shape));
  }
  const std::pair<std::string, BcosParams> linears[] = {{"linear", {.conv = {}}},
                                                        {"linear_power15", {.b = 1.5f, .conv = {}}},
                                                        {"linear_max_out", {.max_out = 3, .conv = {}}}};
  for (const auto& [name, params] : linears) {
    Net net;
    const Value x = net.graph.input("x", {5, 24});
    add_bcos_linear(net.graph, x, net.parameter(name + ".w", formula_tensor(name + "/w", {7 * params.max_out, 24})),
                    params, name);
    check_layer(comparison, net, name, formula_tensor(name + "/x", {5, 24}));
  }
  {
    NormNet net("uncentred");
    const Value y = net.graph.add(std::make_shared<UncentredNormTrainOp>(epsilon), {net.input, net.weight}, "y");
    check_norm(comparison, net, "uncentred", "train", net.x);
    const Activations activations = net.run(net.x);
    const Tensor running = running_variance(activations.saved(y.index).floats() + norm_channels, norm_channels, 1);
    comparison.check("uncentred/running_var", running);
    NormNet given("uncentred");
    const Value variance = given.parameter("v", running);
    given.graph.add(std::make_shared<UncentredNormOp>(epsilon), {given.input, variance, given.weight}, "y");
    check_norm(comparison, given, "uncentred", "eval", given.x);
  }
  {
    NormNet net("centred");
    const Tensor zeros = Tensor::host({norm_channels});
    std::fill_n(zeros.floats(), norm_channels, 0.0f);
    const Value statistics = net.graph.add(std::make_shared<BatchStatisticsOp>(), {net.input}, "statistics");
    net.graph.add(std::make_shared<BatchNormaliseOp>(epsilon),
                  {net.input, statistics, net.weight, net.parameter("b", zeros)}, "y");
    check_norm(comparison, net, "centred", "train", net.x);
    const Activations activations = net.run(net.x);
    const float* variance = activations.value(statistics.index).floats() + norm_channels;
    comparison.check("centred/running_var", running_variance(variance, norm_channels, 60.0f / 59.0f));
  }
  comparison.finish();
}

namespace {

constexpr int64_t batch = 4, side = 5, channels = 20, hidden = 16, classes = 6;
constexpr int label_of[] = {2, 0, 5, 2};

Probe formula_probe(const std::string& name, HeadKind kind, int layers, LossKind loss) {
  std::vector<std::string> names;
  for (int64_t c = 0; c < classes; ++c) names.push_back("class" + std::to_string(c));
  ProbeSpec spec{.name = name, .head = kind, .loss = loss, .logit_constant = -1.5f, .layers = layers, .hidden = hidden};
  Probe probe = Probe::fresh(spec, channels, names, 1);
  for (const std::string& key : probe.parameters.names()) {
    const Shape shape = probe.parameters.at(key).shape();
    const std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
    // The reference's names have no "head." in front.
    probe.parameters.set(key, Tensor::host(shape, parameter(name + "/" + key.substr(5), extents, false)));
  }
  return probe;
}

Tensor features_of(const std::string& name) {
  return Tensor::host({batch, side, side, channels},
                      relu_tensor(name + "/features", static_cast<size_t>(batch * side * side * channels)));
}

// One training step of the probe: the gradients of all parameters, and the running statistics after it.
void check_training(Comparison& comparison, const std::string& name, Probe probe, CpuKernels& kernels) {
  const LossKind loss = probe.spec().loss;
  Graph graph;
  probe.build(graph, graph.input("features", {batch, side, side, channels}));
  GraphTraining training({std::move(graph), loss}, probe.parameters, {}, kernels);
  const Tensor targets = Tensor::host({batch, classes});
  for (int64_t row = 0; row < batch; ++row) {
    for (int64_t c = 0; c < classes; ++c)
      targets.floats()[row * classes + c] = c == label_of[row] ? 1 : loss == LossKind::uo_bce ? 1.0f / classes : 0;
  }
  training.accumulate(features_of(name), targets);
  const std::string prefix = name + "/" + std::string(name_of(loss)) + "/";
  const float mean = training.loss_sum() / batch;
  comparison.check(prefix + "loss", Tensor::host({1}, std::span(&mean, 1)));
  const int layers = probe.spec().layers;
  for (size_t i = 0; i < training.trained().size(); ++i) {
    const std::string key = training.trained()[i].substr(5);
    const bool before_norm = key.starts_with("fc") && key.ends_with("bias") && key[2] - '0' < layers - 1;
    const bool stored = layers == 1 || loss == LossKind::uo_bce || key.starts_with("fc0");
    if (before_norm || !stored) continue;
    const Tensor& gradient = training.gradients()[i];
    comparison.check(prefix + key, gradient.reshaped({gradient.count()}));
  }
  training.store(probe.parameters);
  for (const std::string& key : probe.parameters.names()) {
    if (key.find("running") != std::string::npos && loss == LossKind::uo_bce)
      comparison.check(name + "/statistics/" + key.substr(5), probe.parameters.at(key));
  }
}

// Messages of the labels' logits at the features, by the rules of a composite, times the features if `times_input`.
Tensor explained(const Head& head, const Activations& activations, const Composite& composite, CpuKernels& kernels,
                 bool times_input) {
  Propagator propagator(head.graph, composite, kernels);
  const Tensor seed = Tensor::host({batch, classes});
  for (int64_t i = 0; i < batch * classes; ++i) seed.floats()[i] = i % classes == label_of[i / classes] ? 1 : 0;
  const Entry entry{head.logits(), {seed, Form::multiplier, 1}};
  const Tap tap{head.features(), Tap::Keep::message};
  const RelevanceTrace trace = propagator.run(activations, std::span(&entry, 1), std::span(&tap, 1));
  const Tensor& found = trace.at(tap.node).data;
  const Tensor result = Tensor::host(found.shape());
  const float* x = activations.value(head.features()).floats();
  for (int64_t i = 0; i < result.count(); ++i) result.floats()[i] = found.floats()[i] * (times_input ? x[i] : 1);
  return result;
}

void check_head(Comparison& comparison, const std::string& name, HeadKind kind, int layers) {
  CpuKernels kernels;
  for (const LossKind loss : {LossKind::ce, LossKind::bce, LossKind::uo_bce})
    check_training(comparison, name, formula_probe(name, kind, layers, loss), kernels);
  const Probe probe = formula_probe(name, kind, layers, LossKind::ce);
  const Head head = probe.head({batch, side, side, channels}, true, kernels);
  CHECK(head.graph.contains("head.bn0") == (layers > 1));  // as an alias where it is folded
  Executor executor(head.graph, head.parameters, kernels, Keep::everything);
  const Activations activations = executor.run(features_of(name));
  comparison.check(name + "/logits", activations.value(head.logits()));
  comparison.check(name + "/gradient", explained(head, activations, {}, kernels, false));
  if (is_bcos(kind))
    comparison.check(name + "/explanation", explained(head, activations, explanation(), kernels, false));
  const Composite lrp = CompositeSpec::parse("epsilon_gamma_box", "lrp").build({{0}, {1}}).without_first();
  comparison.check(name + "/relevance", explained(head, activations, lrp, kernels, true));
}

}  // namespace

TEST_CASE("golden: heads, trained, explained, and their relevance") {
  const GoldenFile file("bcos_heads");
  Comparison comparison(file);
  check_head(comparison, "bcos1", HeadKind::bcos_linear, 1);
  for (const int layers : {2, 3}) {
    check_head(comparison, fmt::format("bcos{}", layers), HeadKind::bcos_mlp, layers);
    check_head(comparison, fmt::format("mlp{}", layers), HeadKind::mlp, layers);
  }
  comparison.finish();
}

}  // namespace hp::golden
