#include "probes/heads.h"

#include "runtime/error.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/bcos.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/uncentred_norm.h"
#include "runtime/text.h"

namespace hp {
namespace {

using Start = HeadParameter::Start;

constexpr float epsilon = 1e-5f;

bool is_mlp(HeadKind kind) { return kind == HeadKind::mlp || kind == HeadKind::bcos_mlp; }

// "head.fc1", or "head" where there is but one plain convolution.
std::string layer_name(const HeadShape& shape, int layer) {
  return is_mlp(shape.kind) || is_bcos(shape.kind) ? fmt::format("head.fc{}", layer) : "head";
}

std::string weight_name(const HeadShape& shape, int layer) {
  return layer_name(shape, layer) + (is_bcos(shape.kind) ? ".linear.weight" : ".weight");
}

int64_t inputs_of(const HeadShape& shape, int layer) { return layer == 0 ? shape.channels : shape.hidden; }
int64_t outputs_of(const HeadShape& shape, int layer) {
  return layer + 1 == shape.layers ? shape.classes : shape.hidden;
}

Value add_layer(Graph& graph, Value x, const HeadShape& shape, int layer) {
  const std::string name = layer_name(shape, layer);
  const int64_t outputs = outputs_of(shape, layer);
  const Value weight = graph.parameter(weight_name(shape, layer), {outputs, inputs_of(shape, layer), 1, 1});
  if (is_bcos(shape.kind)) return add_bcos_conv2d(graph, x, weight, {.b = shape.b, .conv = {}}, name);
  std::vector<Value> inputs{x, weight};
  if (shape.bias) inputs.push_back(graph.parameter(name + ".bias", {outputs}));
  return graph.add(std::make_shared<Conv2dOp>(Conv2dOp::Params{}), inputs, name);
}

Value add_norm(Graph& graph, Value x, const HeadShape& shape, int layer) {
  const std::string name = fmt::format("head.bn{}", layer);
  const auto parameter = [&](const char* part) { return graph.parameter(name + part, {shape.hidden}); };
  if (is_bcos(shape.kind)) {
    const Value variance = parameter(".running_var");
    return graph.add(std::make_shared<UncentredNormOp>(epsilon), {x, variance, parameter(".weight")}, name);
  }
  const Value mean = parameter(".running_mean"), variance = parameter(".running_var");
  const Value weight = parameter(".weight"), bias = parameter(".bias");
  x = graph.add(std::make_shared<BatchNormOp>(epsilon), {x, mean, variance, weight, bias}, name);
  return graph.add(std::make_shared<ActivationOp>(OpKind::relu), {x}, fmt::format("head.relu{}", layer));
}

}  // namespace

std::string_view name_of(HeadKind kind) {
  switch (kind) {
    case HeadKind::linear:
      return "linear";
    case HeadKind::mlp:
      return "mlp";
    case HeadKind::bcos_linear:
      return "bcos-linear";
    case HeadKind::bcos_mlp:
      return "bcos-mlp";
    case HeadKind::converted:
      return "converted";
    case HeadKind::zero_shot:
      return "zero-shot";
  }
  return "?";
}

HeadKind head_kind(std::string_view name) {
  for (const HeadKind kind : {HeadKind::linear, HeadKind::mlp, HeadKind::bcos_linear, HeadKind::bcos_mlp,
                              HeadKind::converted, HeadKind::zero_shot}) {
    if (name_of(kind) == name) return kind;
  }
  fail("[probe] unknown head; got {}; expected linear, mlp, bcos-linear, bcos-mlp, converted or zero-shot",
       printable(name));
}

bool is_bcos(HeadKind kind) { return kind == HeadKind::bcos_linear || kind == HeadKind::bcos_mlp; }

bool reads_pooled(HeadKind kind) {
  return kind == HeadKind::linear || kind == HeadKind::converted || kind == HeadKind::zero_shot;
}

std::vector<HeadParameter> head_parameters(const HeadShape& shape) {
  std::vector<HeadParameter> parameters;
  for (int layer = 0; layer < shape.layers; ++layer) {
    const int64_t inputs = inputs_of(shape, layer), outputs = outputs_of(shape, layer);
    parameters.push_back({weight_name(shape, layer), {outputs, inputs, 1, 1}, Start::uniform, inputs});
    if (!is_bcos(shape.kind) && shape.bias)
      parameters.push_back({layer_name(shape, layer) + ".bias", {outputs}, Start::uniform, inputs});
    if (layer + 1 == shape.layers) break;
    const std::string norm = fmt::format("head.bn{}", layer);
    parameters.push_back({norm + ".weight", {outputs}, Start::one, 1});
    parameters.push_back({norm + ".running_var", {outputs}, Start::one, 1});
    if (is_bcos(shape.kind)) continue;
    parameters.push_back({norm + ".bias", {outputs}, Start::zero, 1});
    parameters.push_back({norm + ".running_mean", {outputs}, Start::zero, 1});
  }
  return parameters;
}

std::string last_layer_name(const HeadShape& shape) { return layer_name(shape, shape.layers - 1); }

Value build_head(Graph& graph, Value features, const HeadShape& shape) {
  Value x = features;
  if (shape.kind == HeadKind::zero_shot) {
    x = graph.add(std::make_shared<AvgPoolOp>(), {x}, "head.mean");
    x = graph.add(std::make_shared<UnitNormOp>(), {x}, "head.unit");
  }
  for (int layer = 0; layer < shape.layers; ++layer) {
    x = add_layer(graph, x, shape, layer);
    if (layer + 1 < shape.layers) x = add_norm(graph, x, shape, layer);
  }
  if (!graph.contains("head")) graph.alias("head", x);
  return x;
}

}  // namespace hp
