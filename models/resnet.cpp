#include "models/resnet.h"

#include "models/builder.h"
#include "runtime/error.h"
#include "runtime/ops/shape_ops.h"

namespace hp {

namespace {

struct BlockSpec {
  std::string name;  // "layer1.0"
  int64_t width = 0, stride = 1;
};

// How convolutions, norms and activations of a kind of ResNet are put together.
struct Style {
  Value (*conv_norm)(Graph& graph, Value x, const ConvBn& layer);
  bool activations;
};

constexpr Style standard{conv_bn, true};
constexpr Style bcos{bcos_conv_norm, false};

// torchvision shares one ReLU module within a block; here every node has its own name.
Value activate(Graph& graph, Value x, const Style& style, const std::string& name) {
  return style.activations ? relu(graph, x, name) : x;
}

// The block's output has the block's name.
Value join(Graph& graph, Value branch, Value shortcut, const Style& style, const std::string& name) {
  if (!style.activations) return add(graph, branch, shortcut, name);
  return relu(graph, add(graph, branch, shortcut, name + ".add"), name);
}

Value basic_branch(Graph& graph, Value x, const Style& style, const BlockSpec& block) {
  Value y = style.conv_norm(graph, x, {block.name + ".conv1", block.name + ".bn1", block.width, 3, block.stride, 1});
  y = activate(graph, y, style, block.name + ".relu1");
  return style.conv_norm(graph, y, {block.name + ".conv2", block.name + ".bn2", block.width, 3, 1, 1});
}

Value bottleneck_branch(Graph& graph, Value x, const Style& style, const BlockSpec& block) {
  Value y = style.conv_norm(graph, x, {block.name + ".conv1", block.name + ".bn1", block.width, 1, 1, 0});
  y = activate(graph, y, style, block.name + ".relu1");
  y = style.conv_norm(graph, y, {block.name + ".conv2", block.name + ".bn2", block.width, 3, block.stride, 1});
  y = activate(graph, y, style, block.name + ".relu2");
  return style.conv_norm(graph, y, {block.name + ".conv3", block.name + ".bn3", 4 * block.width, 1, 1, 0});
}

Value projection(Graph& graph, Value x, const Style& style, const BlockSpec& block, int64_t channels) {
  return style.conv_norm(graph, x,
                         {block.name + ".downsample.0", block.name + ".downsample.1", channels, 1, block.stride, 0});
}

// Option A: every second row and column, zero channels on both sides. No parameters.
Value padded_shortcut(Graph& graph, Value x, const BlockSpec& block) {
  const std::string name = block.name + ".shortcut";
  const int64_t missing = block.width - graph.shape(x)[-1];
  x = graph.add(std::make_shared<SliceOp>(SliceOp::Params{.axis = 1, .begin = 0, .step = block.stride, .count = 0}),
                {x}, name + ".rows");
  x = graph.add(std::make_shared<SliceOp>(SliceOp::Params{.axis = 2, .begin = 0, .step = block.stride, .count = 0}),
                {x}, name + ".columns");
  return graph.add(
      std::make_shared<PadOp>(PadOp::Params{.axis = 3, .before = missing / 2, .after = missing - missing / 2}), {x},
      name + ".pad");
}

}  // namespace

Value append_resnet(Graph& graph, Value model_input, const ResNetParams& params) {
  const Style& style = params.bcos ? bcos : standard;
  const int64_t kernel = params.small_stem ? 3 : 7;
  Value x = style.conv_norm(graph, model_input, {"conv1", "bn1", params.width, kernel, 2, kernel / 2});
  x = activate(graph, x, style, "relu");
  constexpr PoolParams pool{.window = 3, .stride = 2, .padding = 1};
  if (!params.small_stem) x = params.bcos ? avg_pool(graph, x, pool, "pool") : max_pool(graph, x, pool, "maxpool");
  for (int stage = 0; stage < 4; ++stage) {
    for (int64_t b = 0; b < params.blocks[static_cast<size_t>(stage)]; ++b) {
      const BlockSpec block{fmt::format("layer{}.{}", stage + 1, b), params.width << stage,
                            b == 0 && stage > 0 ? 2 : 1};
      const int64_t channels = params.bottleneck ? 4 * block.width : block.width;
      const Value branch =
          params.bottleneck ? bottleneck_branch(graph, x, style, block) : basic_branch(graph, x, style, block);
      const bool project = block.stride != 1 || graph.shape(x)[-1] != channels;
      const Value shortcut = project ? projection(graph, x, style, block, channels) : x;
      x = join(graph, branch, shortcut, style, block.name);
    }
  }
  return x;
}

Value append_cifar_resnet(Graph& graph, Value model_input, const CifarResNetParams& params) {
  const Style& style = params.bcos ? bcos : standard;
  Value x = style.conv_norm(graph, model_input, {"conv1", "bn1", params.width, 3, 1, 1});
  x = activate(graph, x, style, "relu");
  for (int stage = 0; stage < 3; ++stage) {
    for (int64_t b = 0; b < params.blocks; ++b) {
      const BlockSpec block{fmt::format("layer{}.{}", stage + 1, b), params.width << stage,
                            b == 0 && stage > 0 ? 2 : 1};
      const Value branch = basic_branch(graph, x, style, block);
      Value shortcut = x;
      if (block.stride != 1) {
        shortcut = params.shortcut == Shortcut::pad ? padded_shortcut(graph, x, block)
                                                    : projection(graph, x, style, block, block.width);
      }
      x = join(graph, branch, shortcut, style, block.name);
    }
  }
  return x;
}

}  // namespace hp
