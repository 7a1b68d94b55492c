#include "attribution/methods/gradcam.h"

#include "attribution/methods/walk_method.h"
#include "runtime/error.h"

namespace hp {

MethodCost GradCam::cost(const Graph& backbone) const {
  const WalkCost walk = walk_cost(backbone, {}, backbone.find(options_.layer));
  return {walk.forward + walk.prepare, walk.per_target};
}

Explanation GradCam::run(const Question& question) const {
  Session& session = question.session;
  const auto [kernels, scratch] = session.context();
  // The layer is pinned, since a ReLU right behind it would take its place. Nothing is kept of what lies below, unless
  // somebody watches it.
  WalkPlan plan = gradient_walk();
  plan.pins = {options_.layer};
  if (question.watch.layers.empty() && !question.watch.conservation) plan.floor = options_.layer;
  const Pass pass = session.forward(question.images, plan);
  const int layer = pass.graph().find(options_.layer);
  const Tensor value = pass.activations().value(layer);
  const Shape& shape = value.shape();
  require(shape.rank() == 4,
          "[gradcam] layer '{}' is no feature map; got {}; expected [batch, height, width, channels]", options_.layer,
          shape.str());
  Explanation explanation = walk_to(question, pass, layer, {});
  const Message& gradient = explanation.trace.at(layer);

  const int64_t rows = gradient.data.shape()[0], height = shape[1], width = shape[2], channels = shape[3];
  const Tensor weights = scratch.take(Shape{rows, channels});
  const Pool2d whole{rows, height, width, channels, height, width, 1, 0};
  kernels.avg_pool(whole, gradient.data.floats(), weights.floats());

  const auto folded = session.folded_bias().find(options_.layer);
  const float* bias =
      folded == session.folded_bias().end() ? nullptr : session.parameters().at(folded->second).floats();
  explanation.raw = scratch.take(Shape{rows, height, width, 1});
  kernels.pixel_dots({shape.rows(), channels}, shape[0], gradient.targets, value.floats(), bias, weights.floats(),
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
