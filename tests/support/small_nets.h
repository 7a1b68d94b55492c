// Small networks with formula-made weights that several test folders use.
#pragma once

#include <string>
#include <vector>

#include "models/builder.h"
#include "runtime/graph.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/parameters.h"
#include "tests/golden/formula.h"

namespace hp::testing {

inline Tensor formula_tensor(const std::string& name, Shape shape, float scale = 1, float shift = 0) {
  Tensor tensor = Tensor::host(shape);
  const uint32_t seed = golden::fnv1a(name);
  for (int64_t i = 0; i < shape.count(); ++i) {
    tensor.floats()[i] = shift + scale * golden::uniform(static_cast<uint64_t>(i), seed);
  }
  return tensor;
}

// Values for every parameter of a graph: variances and norm weights around 1 (some norm weights negative), the rest
// around 0.
inline Parameters formula_parameters(const Graph& graph) {
  Parameters parameters;
  for (const Node& node : graph.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    auto ends_with = [&](std::string_view end) { return node.name.size() >= end.size() && node.name.ends_with(end); };
    float scale = 0.1f, shift = 0;
    if (ends_with(".running_var") || ends_with(".variance")) scale = 0.5f, shift = 1;
    if (ends_with(".weight") && node.shape.rank() == 1) scale = 0.5f, shift = 1;
    if (ends_with(".weight") && node.shape.rank() > 1) {
      scale = std::sqrt(6.0f / static_cast<float>(node.shape.count() / node.shape[0]));
    }
    Tensor tensor = formula_tensor(node.name, node.shape, scale, shift);
    if (ends_with(".weight") && node.shape.rank() == 1) {
      for (int64_t i = 3; i < tensor.count(); i += 11) tensor.floats()[i] *= -1;
    }
    parameters.set(node.name, tensor);
  }
  return parameters;
}

// image [batch, 8, 8, 3] -> conv/bn/relu -> max pool -> residual block with a strided projection -> global pool ->
// logits [batch, 5].
inline Graph small_resnet(int64_t batch) {
  Graph g;
  Value x = g.input("image", {batch, 8, 8, 3});
  x = relu(g, conv_bn(g, x, {"conv1", "bn1", 16, 3, 1, 1}), "relu1");
  x = max_pool(g, x, {.window = 3, .stride = 2, .padding = 1}, "maxpool");
  Value y = relu(g, conv_bn(g, x, {"conv2", "bn2", 16, 3, 2, 1}), "relu2");
  y = conv_bn(g, y, {"conv3", "bn3", 32, 3, 1, 1});
  const Value s = conv_bn(g, x, {"shortcut", "bns", 32, 1, 2, 0});
  x = relu(g, g.add(std::make_shared<AddOp>(), {y, s}, "add"), "relu3");
  x = g.add(std::make_shared<AvgPoolOp>(), {x}, "pool");
  x = g.add(std::make_shared<ReshapeOp>(Shape{32}), {x}, "flat");
  const Value w = g.parameter("fc.weight", {5, 32}), b = g.parameter("fc.bias", {5});
  g.add(std::make_shared<LinearOp>(), {x, w, b}, "logits");
  return g;
}

inline double relative_error(const Tensor& got, const Tensor& want) {
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < want.count(); ++i) {
    const double d = static_cast<double>(got.floats()[i]) - want.floats()[i];
    difference += d * d;
    norm += static_cast<double>(want.floats()[i]) * want.floats()[i];
  }
  return got.count() == want.count() ? std::sqrt(difference / (norm > 0 ? norm : 1)) : 1e30;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.count() == b.count() && std::equal(a.floats(), a.floats() + a.count(), b.floats());
}

}  // namespace hp::testing
