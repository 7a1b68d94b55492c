#include "attribution/methods/lrp.h"

#include <cmath>

#include "attribution/methods/walk_method.h"
#include "runtime/error.h"

namespace hp {

namespace {

// The bounds of the model input, if the session normalises it; none otherwise: then zB needs its own.
InputBox input_box(Session& session) {
  if (!session.parameters().contains("model_input.mean")) return {};
  const auto host = [&](const char* name) {
    const Tensor& tensor = session.parameters().at(name);
    std::vector<float> values(static_cast<size_t>(tensor.count()));
    session.context().kernels.download(tensor.floats(), tensor.bytes(), values.data());
    return values;
  };
  return normalised_box(host("model_input.mean"), host("model_input.variance"));
}

// Multipliers at the logits: relevance is multiplier times logit.
std::vector<float> multipliers(std::span<const float> logits, RelevanceStart start) {
  std::vector<float> seeds;
  if (start == RelevanceStart::logit) return seeds;
  for (float logit : logits) {
    const float sign = logit == 0 ? 0.0f : std::copysign(1.0f, logit);
    seeds.push_back(start == RelevanceStart::abs || logit == 0 ? sign : 1 / logit);
  }
  return seeds;
}

}  // namespace

// The bounds of zB cost the same whatever they are.
MethodCost Lrp::cost(const Graph& backbone) const {
  const WalkCost walk =
      walk_cost(backbone, options_.composite.build({.low = {0}, .high = {1}}), backbone.find("model_input"));
  return {walk.forward + walk.prepare, walk.per_target};
}

Explanation Lrp::run(const Question& question) const {
  Session& session = question.session;
  const std::string key = "lrp " + options_.composite.key();
  const WalkPlan plan{key, options_.composite.build(input_box(session)), {}};
  const Pass pass = session.forward(question.images, watched(plan, question.watch));
  const std::vector<float> seeds = multipliers(session.target_logits(pass, question.targets), options_.start);
  Explanation explanation = walk_to(question, pass, pass.graph().find("model_input"), seeds);
  if (options_.start != RelevanceStart::logit) {
    explanation.warnings.push_back(fmt::format(
        "relevance starts at {} instead of the logit: this inverts the maps of negative logits ({:.1f} % here)",
        options_.start == RelevanceStart::one ? "1" : "|logit|", 100 * explanation.negative_logits));
  }
  read_map(question, pass, Reading::relevance, explanation);
  return explanation;
}

}  // namespace hp
