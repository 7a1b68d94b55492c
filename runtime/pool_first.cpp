#include "runtime/pool_first.h"

#include "runtime/ops/conv.h"
#include "runtime/ops/pool.h"

namespace hp {

namespace {

// The global average pool that a 1x1 convolution goes into and nothing else; -1 if there is none.
int pool_behind(const Graph& graph, int index) {
  const Node& node = graph.node(index);
  if (node.kind != OpKind::conv2d || node.consumers.size() != 1) return -1;
  const Conv2dOp::Params& params = static_cast<const Conv2dOp&>(*node.op).params();
  const Shape& weight = graph.node(node.inputs[1]).shape;
  const bool pointwise = weight[2] == 1 && weight[3] == 1 && params.stride == 1 && params.padding == 0;
  const Node& next = graph.node(node.consumers[0]);
  const bool pools = next.kind == OpKind::avg_pool && static_cast<const AvgPoolOp&>(*next.op).params().window == 0;
  return pointwise && pools && graph.node(node.inputs[1]).is_constant ? node.consumers[0] : -1;
}

}  // namespace

Graph pool_first(const Graph& graph) {
  Graph result;
  std::vector<Value> moved(static_cast<size_t>(graph.size()));
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    Value& value = moved[static_cast<size_t>(i)];
    if (value.index >= 0) continue;  // a pool that its convolution has passed
    if (node.kind == OpKind::input) {
      value = result.input(node.name, node.shape, node.is_nonnegative);
      continue;
    }
    if (node.kind == OpKind::parameter) {
      value = result.parameter(node.name, node.shape);
      continue;
    }
    std::vector<Value> inputs;
    for (int input : node.inputs) inputs.push_back(moved[static_cast<size_t>(input)]);
    const int pool = pool_behind(graph, i);
    if (pool >= 0) inputs[0] = result.add(graph.node(pool).op, {inputs[0]}, graph.node(pool).name);
    value = result.add(node.op, inputs, node.name);
    if (pool >= 0) moved[static_cast<size_t>(pool)] = value;
  }
  for (const auto& [name, index] : graph.names()) {
    if (!result.contains(name)) result.alias(name, moved[static_cast<size_t>(index)]);
  }
  return result;
}

}  // namespace hp
