#include "attribution/methods/gradcam.h"

#include "attribution/methods/walk_method.h"
#include "runtime/error.h"
#include "runtime/ops/token_map.h"

namespace hp {

namespace {

// The tokens of patches of [rows, tokens, channels] as a map [rows, height, width, channels]; a map as it is.
Tensor as_map(Context context, const Graph& graph, const Tensor& value) {
  const Shape& shape = value.shape();
  if (shape.rank() == 4) return value;
  const PatchGrid grid = patch_grid_of(graph);
  const int64_t prefix = shape[1] - grid.count(), channels = shape[2];
  const Tensor map = context.scratch.take(Shape{shape[0], grid.rows, grid.columns, channels});
  context.kernels.copy_block({.extent = {1, 1, shape[0], grid.count() * channels},
                              .src_offset = prefix * channels,
                              .src_stride = {0, 0, shape[1] * channels, 1},
                              .dst_stride = {0, 0, grid.count() * channels, 1}},
                             value.floats(), map.floats());
  return map;
}

// What the last self-attention reads; none: -1.
int last_attended(const Graph& graph) {
  for (int i = graph.find("features"); i >= 0; --i) {
    if (graph.node(i).kind != OpKind::attention_scores) continue;
    const Shape& scores = graph.node(i).shape;
    const int query = graph.node(i).inputs[0];
    if (scores[2] == scores[3] && graph.node(query).kind == OpKind::linear) return graph.node(query).inputs[0];
  }
  return -1;
}

}  // namespace

bool has_positions(const Graph& graph, int node) {
  const Shape& shape = graph.node(node).shape;
  if (shape.rank() == 4) return true;
  return shape.rank() == 3 && graph.contains(patch_grid) && shape[1] >= patch_grid_of(graph).count();
}

std::string gradcam_layer(const Graph& backbone, const std::string& layer) {
  if (layer != "features") return layer;
  const Shape& shape = backbone.node(backbone.find(layer)).shape;
  const int tokens = shape[1] == 1 && shape[2] == 1 ? last_attended(backbone) : -1;
  return tokens < 0 ? layer : backbone.node(tokens).name;
}

MethodCost GradCam::cost(const Graph& backbone) const {
  const WalkCost walk = walk_cost(backbone, {}, backbone.find(gradcam_layer(backbone, options_.layer)));
  return {walk.forward + walk.prepare, walk.per_target};
}

Explanation GradCam::run(const Question& question) const {
  Session& session = question.session;
  const Context context = session.context();
  const auto [kernels, scratch] = context;
  const std::string name = gradcam_layer(session.backbone(), options_.layer);
  // The layer is pinned, since a ReLU right behind it would take its place. Nothing is kept of what lies below, unless
  // somebody watches it.
  WalkPlan plan = gradient_walk();
  plan.pins = {name};
  if (question.watch.layers.empty() && !question.watch.conservation) plan.floor = name;
  const Pass pass = session.forward(question.images, watched(plan, question.watch));
  const int layer = pass.graph().find(name);
  require(has_positions(pass.graph(), layer),
          "[gradcam] layer '{}' is no feature map; got {}; expected [batch, height, width, channels], or tokens of "
          "patches",
          name, pass.graph().node(layer).shape.str());
  const Tensor value = as_map(context, pass.graph(), pass.activations().value(layer));
  const Shape& shape = value.shape();
  Explanation explanation = walk_to(question, pass, layer, {});
  const Message& message = explanation.trace.at(layer);
  const Tensor gradient = as_map(context, pass.graph(), message.data);

  const int64_t rows = gradient.shape()[0], height = shape[1], width = shape[2], channels = shape[3];
  const Tensor weights = scratch.take(Shape{rows, channels});
  const Pool2d whole{rows, height, width, channels, height, width, 1, 0};
  kernels.avg_pool(whole, gradient.floats(), weights.floats());

  const auto folded = session.folded_bias().find(name);
  const float* bias =
      folded == session.folded_bias().end() ? nullptr : session.parameters().at(folded->second).floats();
  explanation.raw = scratch.take(Shape{rows, height, width, 1});
  kernels.pixel_dots({shape.rows(), channels}, shape[0], message.targets, value.floats(), bias, weights.floats(),
                     explanation.raw.floats());
  if (options_.relu) {
    kernels.apply(Function::relu, explanation.raw.count(), explanation.raw.floats(), explanation.raw.floats());
  }
  const Shape& image = question.images.shape();
  explanation.map = scratch.take(Shape{rows, image[1], image[2]});
  kernels.resize_bilinear({rows, height, width, 1, image[1], image[2]}, explanation.raw.floats(),
                          explanation.map.floats());
  return explanation;
}

}  // namespace hp
