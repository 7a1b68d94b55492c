// A vision transformer of two blocks with formula weights, named as models/vit.h names its nodes.
#pragma once

#include <span>
#include <string>

#include "runtime/ops/attention.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/tokens.h"
#include "tests/attribution/dense_transformer.h"
#include "tests/attribution/networks.h"

namespace hp::test {

class TransformerBuilder {
 public:
  explicit TransformerBuilder(DenseSizes sizes) : sizes_(sizes) {}

  // image [1, 4, 4, 3] -> "patch_embed" [1, 2, 2, 8] -> class token and positions -> blocks -> "features" [1, 1, 1, 8]
  Graph build() {
    const Value x = start_backbone(graph_, 4);
    const Value w = graph_.parameter("patch_embed.weight", {sizes_.channels, 3, 2, 2});
    const Value patches = graph_.add(std::make_shared<Conv2dOp>(Conv2dOp::Params{.stride = 2}),
                                     {x, w, graph_.parameter("patch_embed.bias", {sizes_.channels})}, "patch_embed");
    Value t = graph_.add(std::make_shared<ReshapeOp>(Shape{sizes_.patches, sizes_.channels}), {patches}, "patches");
    t = graph_.add(std::make_shared<PrependOp>(), {t, graph_.parameter("cls_token", {1, 1, sizes_.channels})},
                   "prepend");
    t = graph_.add(std::make_shared<PositionAddOp>(),
                   {t, graph_.parameter("pos_embed", {1, sizes_.tokens(), sizes_.channels})}, "pos_add");
    for (int64_t i = 0; i < sizes_.blocks; ++i) t = block(t, "blocks." + std::to_string(i));
    t = norm(t, "norm");
    t = graph_.add(std::make_shared<SliceOp>(SliceOp::Params{.axis = 1, .begin = 0, .count = 1}), {t}, "cls_row");
    graph_.alias("features", graph_.add(std::make_shared<ReshapeOp>(Shape{1, 1, sizes_.channels}), {t}, "cls"));
    return std::move(graph_);
  }

 private:
  Value linear(Value x, int64_t out, const std::string& name) {
    const Value w = graph_.parameter(name + ".weight", {out, graph_.shape(x).columns()});
    return graph_.add(std::make_shared<LinearOp>(), {x, w, graph_.parameter(name + ".bias", {out})}, name);
  }
  Value norm(Value x, const std::string& name) {
    const Shape channels{sizes_.channels};
    return graph_.add(std::make_shared<LayerNormOp>(NormParams{.epsilon = static_cast<float>(sizes_.epsilon)}),
                      {x, graph_.parameter(name + ".weight", channels), graph_.parameter(name + ".bias", channels)},
                      name);
  }
  Value block(Value x, const std::string& name) {
    const Value in = norm(x, name + ".norm1");
    const std::string attn = name + ".attn";
    const Value q = linear(in, sizes_.channels, attn + ".q"), k = linear(in, sizes_.channels, attn + ".k"),
                v = linear(in, sizes_.channels, attn + ".v");
    const Value mixed = add_attention(graph_, q, k, v, {.heads = sizes_.heads}, attn);
    x = graph_.add(std::make_shared<AddOp>(), {linear(mixed, sizes_.channels, attn + ".proj"), x}, name + ".add");
    Value y = linear(norm(x, name + ".norm2"), sizes_.hidden, name + ".mlp.fc1");
    y = graph_.add(std::make_shared<ActivationOp>(OpKind::gelu), {y}, name + ".mlp.act");
    return graph_.add(std::make_shared<AddOp>(), {linear(y, sizes_.channels, name + ".mlp.fc2"), x}, name);
  }

  DenseSizes sizes_;
  Graph graph_;
};

// Formula weights; norm weights around 1, everything else around 0. Without biases also no shift of norms, no class
// token and no positions.
inline Folded small_transformer(bool biases = true) {
  Folded folded = unfolded(TransformerBuilder({}).build(), {});
  for (const Node& node : folded.graph.nodes()) {
    if (node.kind != OpKind::parameter || node.name.starts_with("model_input.")) continue;
    std::vector<float> values = golden::signed_tensor(node.name, static_cast<size_t>(node.shape.count()));
    const bool norm_weight = node.name.ends_with(".weight") && node.shape.rank() == 1;
    const bool is_weight = node.name.ends_with(".weight");
    const int64_t inputs = node.shape.count() / node.shape[0];
    const float scale = is_weight && !norm_weight ? 1.5f / std::sqrt(static_cast<float>(inputs)) : 0.5f;
    for (float& value : values) value = norm_weight ? 1 + 0.3f * value : is_weight || biases ? scale * value : 0.0f;
    folded.parameters.set(node.name, Tensor::host(node.shape, values));
  }
  set_normalisation(folded.parameters, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f});
  return folded;
}

// Where element i of an image's patches (patch, channel, row, column) lies in [4, 4, 3].
inline int64_t patch_pixel(int64_t i) {
  const int64_t patch = i / 12, channel = i % 12 / 4, row = i % 4 / 2, column = i % 2;
  return ((patch / 2 * 2 + row) * 4 + patch % 2 * 2 + column) * 3 + channel;
}

// The model input [4, 4, 3] of small_transformer() as the dense one takes it.
inline Grid patches_of(std::span<const float> model_input) {
  Grid grid(4, 12);
  for (int64_t i = 0; i < 48; ++i)
    grid.values[static_cast<size_t>(i)] = model_input[static_cast<size_t>(patch_pixel(i))];
  return grid;
}

// A B-cos SimpleViT of one block (protocol.md 1.4): image [1, 4, 4, 3] -> [x, 1 - x] -> patches of 2 x 2 -> positions
// by sines -> block -> "features" [1, 2, 2, 8]. No biases anywhere.
inline Folded bcos_transformer() {
  Graph g;
  const Value image = g.input("image", {1, 4, 4, 3}, true);
  const Value inverse = g.add(std::make_shared<AffineOp>(-1.0f, 1.0f), {image}, "inverse");
  const Value input = g.add(std::make_shared<ConcatOp>(-1), {image, inverse}, "model_input");
  const auto bcos = [&](Value x, int64_t out, const std::string& name) {
    return add_bcos_linear(g, x, g.parameter(name + ".weight", {out, g.shape(x).columns()}), {.conv = {}}, name);
  };
  const auto linear = [&](Value x, const std::string& name) {
    return g.add(std::make_shared<LinearOp>(), {x, g.parameter(name + ".weight", {8, 8})}, name);
  };
  const auto norm = [&](Value x, const std::string& name) {
    return g.add(std::make_shared<LayerNormOp>(), {x, g.parameter(name + ".weight", {8})}, name);
  };
  const Value patches = bcos(g.add(std::make_shared<PatchifyOp>(2), {input}, "patchify"), 8, "patch_embed");
  const Value tokens = g.add(std::make_shared<ReshapeOp>(Shape{4, 8}), {patches}, "tokens");
  const Value positions = g.add(std::make_shared<SinCosOp>(2, 2, 8), {}, "positions");
  const Value x = g.add(std::make_shared<PositionAddOp>(), {tokens, positions}, "pos_add");
  const Value in = norm(x, "norm1");
  const Value mixed =
      add_attention(g, linear(in, "attn.q"), linear(in, "attn.k"), linear(in, "attn.v"), {.heads = 2}, "attn");
  const Value middle = g.add(std::make_shared<AddOp>(), {bcos(mixed, 8, "attn.proj"), x}, "add");
  const Value wide = bcos(norm(middle, "norm2"), 16, "mlp.fc1");
  const Value out = g.add(std::make_shared<AddOp>(), {bcos(wide, 8, "mlp.fc2"), middle}, "block");
  g.alias("features", g.add(std::make_shared<ReshapeOp>(Shape{2, 2, 8}), {out}, "map"));
  Parameters parameters;
  for (const Node& node : g.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    std::vector<float> values = golden::signed_tensor(node.name, static_cast<size_t>(node.shape.count()));
    for (float& value : values) value = node.shape.rank() == 1 ? 1 + 0.3f * value : 0.5f * value;
    parameters.set(node.name, Tensor::host(node.shape, values));
  }
  return unfolded(std::move(g), std::move(parameters));
}

// The backbone's parameters with those of a head of small_head(), as the dense transformer reads them.
inline Parameters with_head(const Folded& backbone, const Head& head) {
  Parameters all;
  for (const std::string& name : backbone.parameters.names()) all.set(name, backbone.parameters.at(name));
  for (const std::string& name : head.parameters.names()) all.set(name, head.parameters.at(name));
  return all;
}

}  // namespace hp::test
