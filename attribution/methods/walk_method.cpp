#include "attribution/methods/walk_method.h"

#include <algorithm>

#include "attribution/rules/activation_rules.h"

namespace hp {

namespace {

bool has_relu(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(),
                     [](const Node& node) { return node.kind == OpKind::relu; });
}

class GuidedBackprop final : public WalkMethod {
 public:
  GuidedBackprop()
      : WalkMethod("guided_backprop",
                   {.name = "guided_backprop",
                    .composite = Composite().on(OpKind::relu, rules::guided_relu()),
                    .pins = {},
                    .pool_first = true,
                    .lean = true},
                   Reading::multiplier) {}

 private:
  Explanation run(const Question& question) const override {
    Explanation explanation = WalkMethod::run(question);
    if (!has_relu(question.session.backbone())) {
      explanation.warnings.push_back("the backbone has no ReLU: guided backpropagation is the gradient there");
    }
    return explanation;
  }
};

}  // namespace

WalkPlan gradient_walk() { return {.name = "gradient", .composite = {}, .pins = {}, .pool_first = true, .lean = true}; }

void read_map(const Question& question, const Pass& pass, Reading reading, Explanation& explanation) {
  const int input = pass.graph().find("model_input");
  const Message& message = explanation.trace.at(input);
  explanation.raw = reading == Reading::multiplier ? message.data : question.session.relevance(pass, input, message);
  explanation.map = channel_sums(question.session.context(), explanation.raw);
}

MethodCost WalkMethod::cost(const Graph& backbone) const {
  const WalkCost walk = walk_cost(backbone, plan_.composite, backbone.find("model_input"));
  return {walk.forward + walk.prepare, walk.per_target};
}

Explanation WalkMethod::run(const Question& question) const {
  const Pass pass = question.session.forward(question.images, watched(plan_, question.watch));
  Explanation explanation = walk_to(question, pass, pass.graph().find("model_input"), {});
  read_map(question, pass, reading_, explanation);
  return explanation;
}

AttributionPtr gradient_method() {
  return std::make_unique<const WalkMethod>("gradient", gradient_walk(), Reading::multiplier);
}

AttributionPtr input_x_gradient_method() {
  return std::make_unique<const WalkMethod>("ixg", gradient_walk(), Reading::relevance);
}

AttributionPtr guided_backprop_method() { return std::make_unique<const GuidedBackprop>(); }

}  // namespace hp
