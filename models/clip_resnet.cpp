#include "models/clip_resnet.h"

#include "models/builder.h"
#include "runtime/error.h"

namespace hp {
namespace {

constexpr int64_t expansion = 4;

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

}  // namespace

Value append_clip_resnet(Graph& graph, Value model_input, const ClipResNetParams& params) {
  Value x = stem(graph, model_input, params.width);
  for (int stage = 0; stage < 4; ++stage)
    for (int64_t b = 0; b < params.blocks[static_cast<size_t>(stage)]; ++b)
      x = clip_bottleneck(graph, x, fmt::format("layer{}.{}", stage + 1, b), params.width << stage,
                          b == 0 && stage > 0 ? 2 : 1);
  return x;
}

}  // namespace hp
