#include "models/builder.h"

#include "runtime/ops/activation.h"
#include "runtime/ops/bcos.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/ops/uncentred_norm.h"

namespace hp {

namespace {

constexpr float batch_norm_epsilon = 1e-5f;

}  // namespace

Value conv_bn(Graph& graph, Value x, const ConvBn& layer) {
  const int64_t channels = graph.shape(x)[-1];
  const Value w = graph.parameter(layer.conv + ".weight", {layer.filters, channels, layer.kernel, layer.kernel});
  Conv2dOp::Params params;
  params.stride = layer.stride;
  params.padding = layer.padding;
  const Value y = graph.add(std::make_shared<Conv2dOp>(params), {x, w}, layer.conv);
  const Value mean = graph.parameter(layer.norm + ".running_mean", {layer.filters});
  const Value variance = graph.parameter(layer.norm + ".running_var", {layer.filters});
  const Value weight = graph.parameter(layer.norm + ".weight", {layer.filters});
  const Value bias = graph.parameter(layer.norm + ".bias", {layer.filters});
  return graph.add(std::make_shared<BatchNormOp>(batch_norm_epsilon), {y, mean, variance, weight, bias}, layer.norm);
}

Value bcos_conv_norm(Graph& graph, Value x, const ConvBn& layer) {
  const int64_t channels = graph.shape(x)[-1];
  const Value w = graph.parameter(layer.conv + ".linear.weight", {layer.filters, channels, layer.kernel, layer.kernel});
  BcosParams params;
  params.conv.stride = layer.stride;
  params.conv.padding = layer.padding;
  const Value y = add_bcos_conv2d(graph, x, w, params, layer.conv);
  const Value variance = graph.parameter(layer.norm + ".running_var", {layer.filters});
  const Value weight = graph.parameter(layer.norm + ".weight", {layer.filters});
  return graph.add(std::make_shared<UncentredNormOp>(batch_norm_epsilon), {y, variance, weight}, layer.norm);
}

Value relu(Graph& graph, Value x, const std::string& name) {
  return graph.add(std::make_shared<ActivationOp>(OpKind::relu), {x}, name);
}

Value max_pool(Graph& graph, Value x, PoolParams params, const std::string& name) {
  return graph.add(std::make_shared<MaxPoolOp>(params), {x}, name);
}

Value avg_pool(Graph& graph, Value x, PoolParams params, const std::string& name) {
  return graph.add(std::make_shared<AvgPoolOp>(params), {x}, name);
}

Value add(Graph& graph, Value branch, Value shortcut, const std::string& name) {
  return graph.add(std::make_shared<AddOp>(), {branch, shortcut}, name);
}

Value normalise(Graph& graph, Value x, const std::string& name) {
  const int64_t channels = graph.shape(x)[-1];
  const Value mean = graph.parameter(name + ".mean", {channels});
  const Value variance = graph.parameter(name + ".variance", {channels});
  return graph.add(std::make_shared<BatchNormOp>(0.0f), {x, mean, variance}, name);
}

Value inverse(Graph& graph, Value image, const std::string& name) {
  const Value rest = graph.add(std::make_shared<AffineOp>(-1.0f, 1.0f), {image}, name + ".inverse");
  return graph.add(std::make_shared<ConcatOp>(3), {image, rest}, name);
}

}  // namespace hp
