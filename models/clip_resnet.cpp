#include "models/clip_resnet.h"

#include "models/builder.h"
#include "runtime/error.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/resize_positions.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/ops/tokens.h"

namespace hp {
namespace {

constexpr int64_t expansion = 4, total_stride = 32, head_channels = 64;

Value stem(Graph& graph, Value x, int64_t width) {
  for (int layer = 1; layer <= 3; ++layer) {
    const int64_t filters = layer == 3 ? width : width / 2;
    x = conv_bn(graph, x,
                {fmt::format("conv{}", layer), fmt::format("bn{}", layer), filters, 3, layer == 1 ? 2 : 1, 1});
    x = relu(graph, x, fmt::format("relu{}", layer));
  }
  return avg_pool(graph, x, {.window = 2, .stride = 2}, "avgpool");
}

// Every convolution has stride 1; where the block halves the map an average pool does it, on both branches.
Value clip_bottleneck(Graph& graph, Value x, const std::string& name, int64_t width, int64_t stride) {
  const PoolParams pool{.window = stride, .stride = stride};
  Value y = relu(graph, conv_bn(graph, x, {name + ".conv1", name + ".bn1", width, 1, 1, 0}), name + ".relu1");
  y = relu(graph, conv_bn(graph, y, {name + ".conv2", name + ".bn2", width, 3, 1, 1}), name + ".relu2");
  if (stride > 1) y = avg_pool(graph, y, pool, name + ".avgpool");
  y = conv_bn(graph, y, {name + ".conv3", name + ".bn3", expansion * width, 1, 1, 0});
  Value shortcut = x;
  if (stride > 1 || graph.shape(x)[-1] != expansion * width) {
    if (stride > 1) shortcut = avg_pool(graph, x, pool, name + ".downsample.-1");
    shortcut = conv_bn(graph, shortcut, {name + ".downsample.0", name + ".downsample.1", expansion * width, 1, 1, 0});
  }
  return relu(graph, add(graph, y, shortcut, name + ".add"), name);
}

Value pool_projection(Graph& graph, Value x, int64_t filters, const std::string& part) {
  const std::string name = "attnpool." + part + "_proj";
  const Value w = graph.parameter(name + ".weight", {filters, graph.shape(x)[-1]});
  const Value b = graph.parameter(name + ".bias", {filters});
  return graph.add(std::make_shared<LinearOp>(), {x, w, b}, "attnpool." + part);
}

// The position embedding of the mean and of every position, for a map of this height and width.
Value position_embedding(Graph& graph, const Shape& map, int64_t native_side) {
  const int64_t grid = native_side / total_stride;
  const Value stored = graph.parameter("attnpool.positional_embedding", {1 + grid * grid, map[-1]});
  if (map[1] == grid && map[2] == grid) return stored;
  ResizePositionsOp::Params params{.height = grid, .width = grid, .out_height = map[1], .out_width = map[2]};
  return graph.add(std::make_shared<ResizePositionsOp>(params), {stored}, "attnpool.positions");
}

}  // namespace

Value append_clip_resnet(Graph& graph, Value model_input, const ClipResNetParams& params) {
  Value x = stem(graph, model_input, params.width);
  for (int stage = 0; stage < 4; ++stage)
    for (int64_t b = 0; b < params.blocks[static_cast<size_t>(stage)]; ++b)
      x = clip_bottleneck(graph, x, fmt::format("layer{}.{}", stage + 1, b), params.width << stage,
                          b == 0 && stage > 0 ? 2 : 1);
  return x;
}

Value append_attention_pool(Graph& graph, Value map, const AttentionPoolParams& params) {
  const Shape shape = graph.shape(map);
  const int64_t channels = shape[-1];
  const Value mean = avg_pool(graph, map, {}, "attnpool.mean");
  const Value query = graph.add(std::make_shared<ReshapeOp>(Shape{1, channels}), {mean}, "attnpool.mean_token");
  const Value positions =
      graph.add(std::make_shared<ReshapeOp>(Shape{shape[1] * shape[2], channels}), {map}, "attnpool.map_tokens");
  Value tokens = graph.add(std::make_shared<ConcatOp>(1), {query, positions}, "attnpool.tokens");
  tokens = graph.add(std::make_shared<PositionAddOp>(), {tokens, position_embedding(graph, shape, params.native_side)},
                     "attnpool.placed");
  const Value asking =
      graph.add(std::make_shared<SliceOp>(SliceOp::Params{.axis = 1, .begin = 0, .step = 1, .count = 1}), {tokens},
                "attnpool.query");
  const Value q = pool_projection(graph, asking, channels, "q"), k = pool_projection(graph, tokens, channels, "k"),
              v = pool_projection(graph, tokens, channels, "v");
  const Value seen = add_attention(graph, q, k, v, {.heads = channels / head_channels}, "attnpool");
  const Value embedding = pool_projection(graph, seen, params.output, "c");
  return graph.add(std::make_shared<ReshapeOp>(Shape{1, 1, params.output}), {embedding}, "attnpool");
}

}  // namespace hp
