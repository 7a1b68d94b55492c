// Small networks with formula weights for tests: backbones, heads, images.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "attribution/session.h"
#include "models/backbone.h"
#include "models/builder.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/bcos.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/ops/uncentred_norm.h"
#include "tests/golden/formula.h"

namespace hp::test {

// A parameter by the formula of the golden tests; tokens and positions are as large as what they are added to.
inline Tensor formula_parameter(const Node& node, bool bottleneck) {
  const std::string kind = node.name.substr(node.name.rfind('.') + 1);
  const bool token = kind == "cls_token" || kind == "pos_embed" || kind == "class_embedding";
  if (token) return Tensor::host(node.shape, golden::signed_tensor(node.name, static_cast<size_t>(node.shape.count())));
  const std::vector<int64_t> extents(node.shape.extents().begin(), node.shape.extents().end());
  const bool last = golden::is_last_norm(node.name, bottleneck);
  return Tensor::host(
      node.shape, golden::parameter(kind.ends_with("embedding") ? node.name + ".weight" : node.name, extents, last));
}

// Every parameter of a graph; the input normalisation, where it has one, is ImageNet's.
inline Parameters formula_parameters(const Graph& graph, bool bottleneck = false) {
  Parameters parameters;
  for (const Node& node : graph.nodes()) {
    if (node.kind != OpKind::parameter || node.name.starts_with("model_input.")) continue;
    parameters.set(node.name, formula_parameter(node, bottleneck));
  }
  if (graph.contains("model_input.mean"))
    set_normalisation(parameters, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f});
  return parameters;
}

// As it stands, without folding.
inline Folded unfolded(Graph graph, Parameters parameters) { return {std::move(graph), std::move(parameters), {}}; }

// A CIFAR ResNet-20 with formula weights, its batch norms folded.
inline Folded small_resnet() {
  const Backbone backbone = build_backbone("cifar_resnet20", {1, 32, 32});
  return fold_norms(backbone.graph, formula_parameters(backbone.graph));
}

// image -> model_input; what follows is the test's.
inline Value start_backbone(Graph& graph, int64_t side) {
  return normalise(graph, graph.input("image", {1, side, side, 3}, true), "model_input");
}

inline Value conv(Graph& graph, Value x, const std::string& name, int64_t filters, int64_t kernel, bool bias) {
  std::vector<Value> inputs = {x, graph.parameter(name + ".weight", {filters, graph.shape(x)[-1], kernel, kernel})};
  if (bias) inputs.push_back(graph.parameter(name + ".bias", {filters}));
  return graph.add(std::make_shared<Conv2dOp>(Conv2dOp::Params{.padding = kernel / 2}), inputs, name);
}

// 1x1 convolution, then the mean over the map, as probes are built. The weights depend on the name. `nonnegative`: the
// features are, behind the backbone that it is made for.
inline Head small_head(const std::string& name, const Shape& features, int64_t classes, bool bias = true,
                       bool nonnegative = true) {
  Head head{name, {}, {}};
  Value x = head.graph.input("features", features, nonnegative);
  x = conv(head.graph, x, "head", classes, 1, bias);
  x = head.graph.add(std::make_shared<AvgPoolOp>(), {x}, "head.pool");
  head.graph.add(std::make_shared<ReshapeOp>(Shape{classes}), {x}, "logits");
  for (const Node& node : head.graph.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    std::vector<float> values = golden::signed_tensor(name + node.name, static_cast<size_t>(node.shape.count()));
    head.parameters.set(node.name, Tensor::host(node.shape, values));
  }
  return head;
}

inline std::vector<Head> small_heads(const std::vector<std::string>& names, const Shape& features, int64_t classes,
                                     bool bias = true, bool nonnegative = true) {
  std::vector<Head> heads;
  for (const std::string& name : names) heads.push_back(small_head(name, features, classes, bias, nonnegative));
  return heads;
}

// conv - relu - residual block, 6 channels, without any bias.
inline Folded block_without_biases(int64_t side) {
  Graph graph;
  Value x = start_backbone(graph, side);
  x = relu(graph, conv(graph, x, "conv1", 6, 3, false), "relu1");
  Value branch = relu(graph, conv(graph, x, "conv2", 6, 3, false), "relu2");
  branch = conv(graph, branch, "conv3", 6, 3, false);
  x = relu(graph, graph.add(std::make_shared<AddOp>(), {branch, x}, "add"), "block");
  graph.alias("features", x);
  return unfolded(graph, formula_parameters(graph));
}

inline Value bcos_conv(Graph& graph, Value x, const std::string& name, int64_t filters, int64_t kernel,
                       BcosParams params) {
  params.conv.padding = kernel / 2;
  const Value w = graph.parameter(name + ".weight", {filters * params.max_out, graph.shape(x)[-1], kernel, kernel});
  return add_bcos_conv2d(graph, x, w, params, name);
}

inline Value uncentred_norm(Graph& graph, Value x, const std::string& name) {
  const Shape channels{graph.shape(x)[-1]};
  const Value variance = graph.parameter(name + ".running_var", channels);
  return graph.add(std::make_shared<UncentredNormOp>(1e-5f), {x, variance, graph.parameter(name + ".weight", channels)},
                   name);
}

// [x, 1 - x], a stem, a residual block and a max-out: everything that a B-cos backbone has.
inline Folded bcos_backbone(int64_t side) {
  Graph graph;
  const Value image = graph.input("image", {1, side, side, 3}, true);
  const Value inverse = graph.add(std::make_shared<AffineOp>(-1.0f, 1.0f), {image}, "inverse");
  Value x = graph.add(std::make_shared<ConcatOp>(-1), {image, inverse}, "model_input");
  x = uncentred_norm(graph, bcos_conv(graph, x, "conv1", 8, 3, {.conv = {}}), "bn1");
  x = graph.add(std::make_shared<AvgPoolOp>(PoolParams{3, 2, 1}), {x}, "pool");
  Value branch = uncentred_norm(graph, bcos_conv(graph, x, "conv2", 8, 3, {.max_out = 2, .conv = {}}), "bn2");
  branch = uncentred_norm(graph, bcos_conv(graph, branch, "conv3", 8, 3, {.b = 1.5f, .conv = {}}), "bn3");
  x = graph.add(std::make_shared<AddOp>(), {branch, x}, "add");
  graph.alias("features", x);
  Parameters parameters;
  for (const Node& node : graph.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    const std::vector<int64_t> extents(node.shape.extents().begin(), node.shape.extents().end());
    parameters.set(node.name, Tensor::host(node.shape, golden::parameter(node.name, extents, false)));
  }
  return unfolded(std::move(graph), std::move(parameters));
}

inline double largest(std::span<const float> values) {
  double most = 0;
  for (float value : values) most = std::max(most, std::fabs(static_cast<double>(value)));
  return most;
}

// max |a - b| / max |b|; infinite where a is NaN or the sizes differ.
inline double distance(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double off = std::fabs(static_cast<double>(a[i]) - b[i]);
    if (std::isnan(off)) return std::numeric_limits<double>::infinity();
    most = std::max(most, off);
  }
  return most == 0 ? 0 : most / largest(b);
}

inline std::vector<float> formula_images(int64_t batch, int64_t side, const std::string& name = "images") {
  return golden::image_tensor(name, static_cast<size_t>(batch * side * side * 3));
}

}  // namespace hp::test
