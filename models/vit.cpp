#include "models/vit.h"

#include <algorithm>
#include <array>

#include "models/builder.h"
#include "runtime/error.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/bcos.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/resize_positions.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/ops/token_map.h"
#include "runtime/ops/tokens.h"

namespace hp {

namespace {

constexpr std::array<std::pair<std::string_view, VitFeatures>, 6> feature_names{
    {{"auto", VitFeatures::own},
     {"cls", VitFeatures::cls},
     {"tokens", VitFeatures::tokens},
     {"cls+mean", VitFeatures::cls_and_mean},
     {"mean", VitFeatures::mean},
     {"embedding", VitFeatures::embedding}}};

constexpr float stem_epsilon = 1e-5f;

// What builds the parts of one network; every method appends nodes and returns the last one.
class VitBuilder {
 public:
  VitBuilder(Graph& graph, const VitParams& params) : graph_(graph), p_(params) {}

  Value features(Value x, VitFeatures wanted) {
    x = positioned(patches(x));
    if (p_.pre_norm) x = norm(x, "norm_pre");
    for (int64_t i = 0; i < p_.depth; ++i) x = block(x, fmt::format("blocks.{}", i));
    return p_.class_token ? behind_class_token(x, wanted) : behind_mean(x, wanted);
  }

 private:
  template <class Operation>
  Value add(Operation operation, const std::vector<Value>& inputs, const std::string& name) {
    return graph_.add(std::make_shared<Operation>(std::move(operation)), inputs, name);
  }

  std::vector<Value> with_affine(Value x, const std::string& name, int64_t channels, bool bias) {
    std::vector<Value> inputs = {x, graph_.parameter(name + ".weight", {channels})};
    if (bias) inputs.push_back(graph_.parameter(name + ".bias", {channels}));
    return inputs;
  }

  Value norm(Value x, const std::string& name) {
    return add(LayerNormOp({.epsilon = p_.epsilon}), with_affine(x, name, p_.width, !p_.bcos), name);
  }

  // [out, in] of x [..., in]; a B-cos layer where the network has them.
  Value linear(Value x, int64_t out, bool bias, const std::string& name, const std::string& parameters) {
    const int64_t in = graph_.shape(x)[-1];
    if (p_.bcos) {
      return add_bcos_linear(graph_, x, graph_.parameter(parameters + ".linear.weight", {out, in}), {}, name);
    }
    std::vector<Value> inputs = {x, graph_.parameter(parameters + ".weight", {out, in})};
    if (bias) inputs.push_back(graph_.parameter(parameters + ".bias", {out}));
    return add(LinearOp(), inputs, name);
  }
  Value linear(Value x, int64_t out, bool bias, const std::string& name) { return linear(x, out, bias, name, name); }

  // A convolution of the stem with its norm and activation; the stride is 2 where the channels grow.
  Value stem_layer(Value x, int64_t channels, size_t layer) {
    const std::string conv = fmt::format("patch_embed.stem.{}", 3 * layer);
    const std::string norm = fmt::format("patch_embed.stem.{}", 3 * layer + 1);
    const int64_t in = graph_.shape(x)[-1];
    const Conv2dOp::Params geometry{.stride = channels > in ? 2 : 1, .padding = 1};
    if (p_.bcos) {
      const Value w = graph_.parameter(conv + ".linear.weight", {channels, in, 3, 3});
      x = add_bcos_conv2d(graph_, x, w, {.conv = geometry}, conv);
    } else {
      const Value w = graph_.parameter(conv + ".weight", {channels, in, 3, 3});
      x = add(Conv2dOp(geometry), {x, w, graph_.parameter(conv + ".bias", {channels})}, conv);
    }
    x = add(GroupNormOp({.epsilon = stem_epsilon}), with_affine(x, norm, channels, !p_.bcos), norm);
    return p_.bcos ? x : activation(x, fmt::format("patch_embed.stem.{}", 3 * layer + 2));
  }

  Value activation(Value x, const std::string& name) { return add(ActivationOp(p_.activation), {x}, name); }

  // [batch, rows * columns, width]; the node "patch_embed" has them as a map.
  Value patches(Value x) {
    for (size_t i = 0; i < p_.stem.size(); ++i) x = stem_layer(x, p_.stem[i], i);
    const Shape image = graph_.shape(x);
    require(image[1] % p_.patch == 0 && image[2] % p_.patch == 0 && image[1] > 0 && image[2] > 0,
            "[vit] the image is not made of whole patches; got {}x{}; expected sides that are multiples of {}",
            graph_.shape({graph_.find("model_input")})[2], graph_.shape({graph_.find("model_input")})[1], p_.stride());
    if (p_.class_token) {
      std::vector<Value> inputs = {
          x, graph_.parameter("patch_embed.proj.weight", {p_.width, image[3], p_.patch, p_.patch})};
      if (p_.patch_bias) inputs.push_back(graph_.parameter("patch_embed.proj.bias", {p_.width}));
      x = add(Conv2dOp({.stride = p_.patch}), inputs, "patch_embed");
    } else {
      if (p_.patch > 1) x = add(PatchifyOp(p_.patch), {x}, "patches");
      x = linear(x, p_.width, true, "patch_embed", "patch_embed.proj");
    }
    grid_ = patch_grid_of(graph_);
    return add(TokensOfMapOp(), {x}, "patch_tokens");
  }

  Value positions() {
    ResizePositionsOp::Params resize{.prefix = 1, .height = p_.grid, .width = p_.grid};
    resize.out_height = grid_.rows, resize.out_width = grid_.columns;
    resize.source = p_.resize == PositionResize::dino ? PositionSource::dino : PositionSource::size;
    resize.antialias = p_.resize == PositionResize::antialiased;
    const Value stored = graph_.parameter("pos_embed", {1, 1 + p_.grid * p_.grid, p_.width});
    return add(ResizePositionsOp(resize), {stored}, "pos_embed.resized");
  }

  Value positioned(Value x) {
    if (!p_.class_token) {
      return add(PositionAddOp(), {x, add(SinCosOp(grid_.rows, grid_.columns, p_.width), {}, "pos_embed")}, "pos_add");
    }
    x = add(PrependOp(), {x, graph_.parameter("cls_token", {1, 1, p_.width})}, "prepend");
    return add(PositionAddOp(), {x, positions()}, "pos_add");
  }

  // Part `index` of the fused projection [3 * width, width]; never a B-cos layer.
  Value projection(Value x, const std::string& attention, int64_t index, const char* part) {
    const RowsOp rows(index * p_.width, p_.width);
    const std::string name = attention + "." + part;
    std::vector<Value> inputs = {x, add(rows, {qkv_weight_}, name + ".weight")};
    if (p_.class_token) inputs.push_back(add(rows, {qkv_bias_}, name + ".bias"));
    return add(LinearOp(), inputs, name);
  }

  Value attention(Value x, const std::string& name) {
    qkv_weight_ = graph_.parameter(name + ".qkv.weight", {3 * p_.width, p_.width});
    if (p_.class_token) qkv_bias_ = graph_.parameter(name + ".qkv.bias", {3 * p_.width});
    const Value q = projection(x, name, 0, "q"), k = projection(x, name, 1, "k"), v = projection(x, name, 2, "v");
    return linear(add_attention(graph_, q, k, v, {.heads = p_.heads}, name), p_.width, p_.class_token, name + ".proj");
  }

  // Pre-norm: x + attention(norm1 x), then x + mlp(norm2 x).
  Value block(Value x, const std::string& name) {
    x = add(AddOp(), {x, attention(norm(x, name + ".norm1"), name + ".attn")}, name + ".add");
    Value y = linear(norm(x, name + ".norm2"), p_.hidden(), true, name + ".mlp.fc1");
    if (!p_.bcos) y = activation(y, name + ".mlp.act");
    return add(AddOp(), {x, linear(y, p_.width, true, name + ".mlp.fc2")}, name);
  }

  // The tokens of patches as a map.
  Value token_map(Value x) {
    if (p_.class_token) x = add(SliceOp({.axis = 1, .begin = 1, .step = 1, .count = 0}), {x}, "patch_part");
    return add(MapOfTokensOp(grid_), {x}, "tokens");
  }

  Value mean(Value map, const std::string& name) { return add(AvgPoolOp(), {map}, name); }

  Value behind_class_token(Value x, VitFeatures wanted) {
    x = norm(x, "norm");
    if (wanted == VitFeatures::tokens) return token_map(x);
    if (wanted == VitFeatures::mean) return mean(token_map(x), "mean");
    Value cls = add(SliceOp({.axis = 1, .begin = 0, .step = 1, .count = 1}), {x}, "class_token");
    cls = add(ReshapeOp({1, 1, p_.width}), {cls}, "cls");
    if (wanted == VitFeatures::cls_and_mean) {
      return add(ConcatOp(3), {cls, mean(token_map(x), "mean")}, "cls+mean");
    }
    if (wanted == VitFeatures::cls || (wanted == VitFeatures::own && p_.embedding == 0)) return cls;
    require(p_.embedding > 0, "[vit] no such features; got \"embedding\"; expected a CLIP network, or one of {}",
            fmt::join(vit_feature_names(), ", "));
    return linear(cls, p_.embedding, false, "proj");
  }

  Value behind_mean(Value x, VitFeatures wanted) {
    if (wanted == VitFeatures::tokens) return token_map(x);
    require(wanted == VitFeatures::own || wanted == VitFeatures::mean,
            "[vit] no such features; got {}; expected mean or tokens, since the network has no class token",
            wanted == VitFeatures::cls            ? "cls"
            : wanted == VitFeatures::cls_and_mean ? "cls+mean"
                                                  : "embedding");
    return norm(mean(token_map(x), "token_mean"), "norm");
  }

  Graph& graph_;
  const VitParams& p_;
  PatchGrid grid_;
  Value qkv_weight_, qkv_bias_;
};

}  // namespace

int64_t VitParams::stride() const {
  int64_t stride = patch, channels = bcos ? 6 : 3;
  for (const int64_t next : stem) {
    if (next > channels) stride *= 2;
    channels = next;
  }
  return stride;
}

std::vector<std::string> vit_feature_names() {
  std::vector<std::string> names;
  for (const auto& [name, features] : feature_names) names.emplace_back(name);
  return names;
}

VitFeatures vit_features(std::string_view name) {
  if (name.empty()) return VitFeatures::own;
  const auto found =
      std::find_if(feature_names.begin(), feature_names.end(), [&](const auto& entry) { return entry.first == name; });
  require(found != feature_names.end(), "[vit] no such features; got \"{}\"; expected one of {}", name,
          fmt::join(vit_feature_names(), ", "));
  return found->second;
}

Value append_vit(Graph& graph, Value model_input, const VitParams& params, VitFeatures features) {
  return VitBuilder(graph, params).features(model_input, features);
}

}  // namespace hp
