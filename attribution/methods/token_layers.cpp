#include "attribution/methods/token_layers.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/ops/token_map.h"

namespace hp {

namespace {

// Does an attention's softmax stand at the node?
bool is_attention(const Graph& graph, int node) {
  if (graph.node(node).kind != OpKind::softmax || graph.node(node).shape.rank() != 4) return false;
  int below = graph.node(node).inputs[0];
  if (graph.node(below).kind == OpKind::affine) below = graph.node(below).inputs[0];
  return graph.node(below).kind == OpKind::attention_scores;
}

}  // namespace

TokenLayers token_layers(const Graph& graph, const std::string& method, int first) {
  TokenLayers layers;
  const int end = graph.find("features");
  for (int i = graph.find("model_input") + 1; i <= end; ++i) {
    if (!is_attention(graph, i)) continue;
    const Shape& shape = graph.node(i).shape;
    if (shape[2] != shape[3]) continue;  // a pooling's queries are not the tokens
    require(layers.tokens == 0 || layers.tokens == shape[2],
            "[{}] layers have different tokens; got {} and, at '{}', {}; expected a plain vision transformer", method,
            layers.tokens, graph.node(i).name, shape[2]);
    layers.tokens = shape[2];
    layers.softmaxes.push_back(i);
  }
  require(
      !layers.softmaxes.empty(),
      "[{}] the backbone has no self-attention; got none; expected a vision transformer. For this backbone there are "
      "ixg, gradient, intgrad, gradcam and lrp",
      method);
  require(graph.contains(patch_grid),
          "[{}] the backbone does not say where its patches lie; got no node '{}'; expected [batch, rows, columns, "
          "channels] under that name",
          method, patch_grid);
  const PatchGrid grid = patch_grid_of(graph);
  layers.height = grid.rows, layers.width = grid.columns;
  require(layers.prefix() >= 0,
          "[{}] fewer tokens than patches; got {} tokens of {} x {} patches; expected all patches", method,
          layers.tokens, layers.height, layers.width);
  layers.class_token_is_read = graph.contains("cls") || !graph.contains("tokens");
  const auto count = static_cast<int>(layers.softmaxes.size());
  require(first >= 0 && first < count, "[{}] no such layer; got first {}; expected 0 to {}", method, first, count - 1);
  layers.softmaxes.erase(layers.softmaxes.begin(), layers.softmaxes.begin() + first);
  return layers;
}

TokenRows::TokenRows(Context context, const TokenLayers& layers, int64_t rows, Readout readout,
                     const std::string& method)
    : context_(context), layers_(layers), r_(context.scratch.take(Shape{rows, layers.tokens})) {
  const int64_t prefix = layers.prefix(), patches = layers.tokens - prefix;
  require(readout != Readout::class_token || prefix > 0,
          "[{}] there is no class token to read; got readout \"class_token\"; expected \"patches\"", method);
  const bool mean =
      readout == Readout::patches || prefix == 0 || (readout == Readout::automatic && !layers.class_token_is_read);
  std::vector<float> one(static_cast<size_t>(layers.tokens), 0.0f);
  if (mean) std::fill(one.begin() + prefix, one.end(), 1.0f / static_cast<float>(patches));
  if (!mean) one[0] = 1;
  const Tensor row = context.scratch.take(Shape{layers.tokens});
  context.kernels.upload(one.data(), row.bytes(), row.floats());
  context.kernels.fill(r_.count(), 0, r_.floats());
  context.kernels.combine(Binary::add, r_.count(), row.count(), r_.floats(), row.floats(), r_.floats());
  context.kernels.synchronize();  // `one` goes away
}

Tensor TokenRows::product(const Tensor& r, const Tensor& maps) const {
  const Tensor result = context_.scratch.take(r.shape());
  context_.kernels.matmul({.batch = r.shape()[0], .m = 1, .n = layers_.tokens, .k = layers_.tokens}, r.floats(),
                          maps.floats(), result.floats());
  return result;
}

void TokenRows::add_product(const Tensor& maps) {
  context_.kernels.scale_add(r_.count(), 1, product(r_, maps).floats(), 1, r_.floats());
}

void TokenRows::roll_out(const Tensor& maps) {
  auto& [kernels, scratch] = context_;
  const Tensor sums = scratch.take(r_.shape()), ones = scratch.take(r_.shape());
  kernels.row_dots({maps.shape().rows(), layers_.tokens}, 1, nullptr, maps.floats(), sums.floats());
  kernels.fill(ones.count(), 1, ones.floats());
  kernels.combine(Binary::add, sums.count(), sums.count(), sums.floats(), ones.floats(), sums.floats());
  kernels.combine(Binary::divide, r_.count(), r_.count(), r_.floats(), sums.floats(), r_.floats());
  add_product(maps);
}

void TokenRows::read(const Question& question, int64_t repeats, Explanation& explanation) const {
  auto& [kernels, scratch] = context_;
  const int64_t rows = r_.shape()[0], height = layers_.height, width = layers_.width, patches = height * width;
  explanation.raw = scratch.take(Shape{repeats * rows, height, width, 1});
  kernels.copy_block({.extent = {1, repeats, rows, patches},
                      .src_offset = layers_.prefix(),
                      .src_stride = {0, 0, layers_.tokens, 1},
                      .dst_stride = {0, rows * patches, patches, 1}},
                     r_.floats(), explanation.raw.floats());
  const Shape& image = question.images.shape();
  explanation.map = scratch.take(Shape{repeats * rows, image[1], image[2]});
  kernels.resize_bilinear({repeats * rows, height, width, 1, image[1], image[2]}, explanation.raw.floats(),
                          explanation.map.floats());
}

Tensor fuse_heads(Context context, const Tensor& maps, HeadFusion fusion) {
  auto& [kernels, scratch] = context;
  const Shape& shape = maps.shape();
  const int64_t rows = shape[0], heads = shape[1], pairs = shape[2] * shape[3];
  const Tensor fused = scratch.take(Shape{rows, shape[2], shape[3]});
  if (fusion == HeadFusion::mean) {
    const Tensor share = scratch.take(Shape{rows, heads});
    kernels.fill(share.count(), 1.0f / static_cast<float>(heads), share.floats());
    kernels.matmul({.batch = rows, .m = 1, .n = pairs, .k = heads}, share.floats(), maps.floats(), fused.floats());
    return fused;
  }
  const Tensor difference = scratch.take(Shape{pairs});
  const Function part = fusion == HeadFusion::max ? Function::positive_part : Function::negative_part;
  for (int64_t row = 0; row < rows; ++row) {
    const float* in = maps.floats() + row * heads * pairs;
    float* out = fused.floats() + row * pairs;
    kernels.copy(in, static_cast<size_t>(pairs) * sizeof(float), out);
    for (int64_t head = 1; head < heads; ++head) {  // max(a, b) = a + max(b - a, 0)
      kernels.combine(Binary::subtract, pairs, pairs, in + head * pairs, out, difference.floats());
      kernels.apply(part, pairs, difference.floats(), difference.floats());
      kernels.scale_add(pairs, 1, difference.floats(), 1, out);
    }
  }
  return fused;
}

}  // namespace hp
