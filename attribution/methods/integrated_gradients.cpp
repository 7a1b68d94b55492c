#include "attribution/methods/integrated_gradients.h"

#include <algorithm>
#include <cmath>

#include "attribution/methods/quadrature.h"
#include "attribution/methods/walk_method.h"
#include "runtime/error.h"

namespace hp {

namespace {

// Points that run as one batch. On a CPU the values that a walk reads again should not all have left the caches, which
// they have where the values of many large images lie between; other devices take as many as they are given.
int64_t points_at_once(const Pass& pass, Device device, int64_t most) {
  if (device != Device::cpu) return most;
  constexpr double bytes_at_once = 128 << 20;
  const Graph& graph = pass.graph();
  double bytes = 0;
  for (int i = 0; i < graph.size(); ++i) {
    if (graph.node(i).op && !graph.node(i).is_constant && !is_rectified(graph, i)) bytes += value_bytes(graph, i);
  }
  return std::clamp<int64_t>(static_cast<int64_t>(bytes_at_once / std::max(bytes, 1.0)), 1, most);
}

// Adds w_k * gradient at a_k x for the points [first, first + count) of the way, which run as one batch of count *
// images, point by point. sum: [head * targets * batch, height, width, channels].
void add_points(const Question& question, const Tensor& input, const Quadrature& way, int64_t first, int64_t count,
                const Tensor& sum) {
  Session& session = question.session;
  const auto [kernels, scratch] = session.context();
  const int64_t batch = input.shape()[0], targets = static_cast<int64_t>(question.targets.size()) / batch;
  const Tensor points = scratch.take(input.shape().with(0, count * batch));
  for (int64_t k = 0; k < count; ++k) {
    const auto node = static_cast<float>(way.nodes[static_cast<size_t>(first + k)]);
    kernels.scale_add(input.count(), node, input.floats(), 0, points.rows(k * batch, (k + 1) * batch).floats());
  }
  std::vector<int> all_targets;  // [t * (count * batch) + k * batch + b]
  for (int64_t t = 0; t < targets; ++t) {
    const std::span<const int> of_images =
        question.targets.subspan(static_cast<size_t>(t * batch), static_cast<size_t>(batch));
    for (int64_t k = 0; k < count; ++k) all_targets.insert(all_targets.end(), of_images.begin(), of_images.end());
  }
  const Pass pass = session.forward(points, gradient_walk(), Start::model_input);
  const Tap tap{pass.graph().find("model_input"), Tap::Keep::message};
  const RelevanceTrace trace = session.walk(pass, all_targets, {}, std::span(&tap, 1));
  const Tensor& gradient = trace.at(tap.node).data;
  for (int64_t stacked = 0; stacked < sum.shape()[0] / batch; ++stacked) {  // head * targets + t
    const Tensor into = sum.rows(stacked * batch, (stacked + 1) * batch);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t row = (stacked * count + k) * batch;
      kernels.scale_add(into.count(), static_cast<float>(way.weights[static_cast<size_t>(first + k)]),
                        gradient.rows(row, row + batch).floats(), 1, into.floats());
    }
  }
}

// |sum - (o(x) - o(0))| / |o(x) - o(0)| per row; where both logits are equal, the sum itself.
std::vector<double> completeness(const Question& question, const Tensor& map, std::span<const float> logits,
                                 std::span<const float> baseline) {
  const auto [kernels, scratch] = question.session.context();
  const int64_t rows = map.shape()[0];
  const Tensor sums = scratch.take(Shape{rows});
  kernels.row_dots({rows, map.count() / rows}, 1, nullptr, map.floats(), sums.floats());
  std::vector<float> host(static_cast<size_t>(rows));
  kernels.download(sums.floats(), sums.bytes(), host.data());
  std::vector<double> errors;
  for (size_t row = 0; row < host.size(); ++row) {
    const double difference = static_cast<double>(logits[row]) - baseline[row];
    const double off = std::fabs(host[row] - difference);
    errors.push_back(difference == 0 ? off : off / std::fabs(difference));
  }
  return errors;
}

}  // namespace

// Besides the points of the way: a pass for the logits, and one for those of the baseline.
MethodCost IntegratedGradients::cost(const Graph& backbone) const {
  const WalkCost walk = walk_cost(backbone, {}, backbone.find("model_input"));
  return {(options_.nodes + 2.0) * walk.forward, static_cast<double>(options_.nodes) * walk.per_target};
}

Explanation IntegratedGradients::run(const Question& question) const {
  require(question.watch.layers.empty() && !question.watch.conservation,
          "[intgrad] relevance inside the network is not defined for an average of walks; expected no watched layers "
          "and no conservation");
  Session& session = question.session;
  const auto [kernels, scratch] = session.context();
  Explanation explanation;
  std::vector<float> baseline;
  Tensor input;
  int64_t at_once = 1;
  {
    const Pass pass = session.forward(question.images, gradient_walk());
    set_logits(explanation, session.target_logits(pass, question.targets));
    const Tensor value = pass.activations().value(pass.graph().find("model_input"));
    input = scratch.take(value.shape());
    kernels.copy(value.floats(), value.bytes(), input.floats());
    at_once = points_at_once(pass, kernels.device(), std::max<int64_t>(1, options_.images_at_once / input.shape()[0]));
  }
  {
    const Tensor zero = scratch.take(input.shape());
    kernels.fill(zero.count(), 0, zero.floats());
    baseline = session.target_logits(session.forward(zero, gradient_walk(), Start::model_input), question.targets);
  }
  const auto rows = static_cast<int64_t>(explanation.logits.size());
  const Tensor sum = scratch.take(input.shape().with(0, rows));
  kernels.fill(sum.count(), 0, sum.floats());
  const Quadrature way = gauss_legendre(options_.nodes);
  for (int64_t first = 0; first < options_.nodes; first += at_once) {
    add_points(question, input, way, first, std::min<int64_t>(at_once, options_.nodes - first), sum);
  }
  kernels.combine(Binary::multiply, sum.count(), input.count(), sum.floats(), input.floats(), sum.floats());
  explanation.raw = sum;
  explanation.map = channel_sums(session.context(), sum);
  explanation.completeness = completeness(question, explanation.map, explanation.logits, baseline);
  return explanation;
}

}  // namespace hp
