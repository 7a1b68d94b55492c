#include "models/builder.h"

#include "runtime/ops/activation.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/norm.h"

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

Value relu(Graph& graph, Value x, const std::string& name) {
  return graph.add(std::make_shared<ActivationOp>(OpKind::relu), {x}, name);
}

Value max_pool(Graph& graph, Value x, PoolParams params, const std::string& name) {
  return graph.add(std::make_shared<MaxPoolOp>(params), {x}, name);
}

Value normalise(Graph& graph, Value x, const std::string& name) {
  const int64_t channels = graph.shape(x)[-1];
  const Value mean = graph.parameter(name + ".mean", {channels});
  const Value variance = graph.parameter(name + ".variance", {channels});
  return graph.add(std::make_shared<BatchNormOp>(0.0f), {x, mean, variance}, name);
}

}  // namespace hp
