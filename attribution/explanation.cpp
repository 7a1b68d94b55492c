#include "attribution/explanation.h"

#include <algorithm>

namespace hp {

WalkPlan watched(WalkPlan plan, const Watch& watch) {
  plan.pins.insert(plan.pins.end(), watch.layers.begin(), watch.layers.end());
  plan.lean = plan.lean && !watch.conservation;
  return plan;
}

void set_logits(Explanation& explanation, std::vector<float> logits) {
  explanation.logits = std::move(logits);
  const auto negative =
      std::count_if(explanation.logits.begin(), explanation.logits.end(), [](float logit) { return logit < 0; });
  explanation.negative_logits = static_cast<double>(negative) / static_cast<double>(explanation.logits.size());
}

Tensor channel_sums(Context context, const Tensor& raw) {
  const Shape& shape = raw.shape();
  const Tensor map = context.scratch.take(Shape{shape[0], shape[1], shape[2]});
  context.kernels.row_dots({shape.rows(), shape.columns()}, 1, nullptr, raw.floats(), map.floats());
  return map;
}

Explanation walk_to(const Question& question, const Pass& pass, int node, std::span<const float> seeds) {
  const auto& [session, images, targets, watch] = question;
  Explanation explanation;
  set_logits(explanation, session.target_logits(pass, targets));
  std::vector<Tap> taps = {{node, Tap::Keep::message}};
  for (const std::string& layer : watch.layers) {
    const int watched = pass.graph().find(layer);
    const bool there = std::any_of(taps.begin(), taps.end(), [&](const Tap& tap) { return tap.node == watched; });
    if (!there) taps.push_back({watched, Tap::Keep::message});
  }
  if (watch.conservation) add_cut_taps(pass.graph(), taps);
  explanation.trace = session.walk(pass, targets, seeds, taps);
  for (const std::string& layer : watch.layers) {
    const int watched = pass.graph().find(layer);
    if (!explanation.trace.has(watched)) continue;  // as queries and keys where rules stop at the attention weights
    explanation.layers[layer] = session.relevance(pass, watched, explanation.trace.at(watched));
  }
  if (watch.conservation) {
    std::vector<float> start = explanation.logits;
    for (size_t row = 0; row < seeds.size(); ++row) start[row] *= seeds[row];
    explanation.conservation = read_conservation(session, pass, explanation.trace, std::move(start), taps);
  }
  return explanation;
}

}  // namespace hp
