// Attribution: a method that explains logits by heat maps, for all heads and targets of a session at once.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "attribution/explanation.h"
#include "attribution/session.h"
#include "attribution/walk_cost.h"

namespace hp {

// Of one image: what all its targets share, and what every target of every head adds.
struct MethodCost {
  Cost shared, per_target;
};

class Attribution {
 public:
  virtual ~Attribution() = default;
  virtual std::string name() const = 0;
  // images [batch, height, width, 3] in [0, 1] on the session's device, targets[t * batch + b]. Throws hp::Error if
  // they do not fit, or if the method cannot give what `watch` asks for.
  Explanation explain(Session& session, const Tensor& images, std::span<const int> targets,
                      const Watch& watch = {}) const;
  // From the shapes of a backbone's graph for one image; heads, smoothing and the like are left out.
  virtual MethodCost cost(const Graph& backbone) const = 0;

 private:
  virtual Explanation run(const Question& question) const = 0;
};

using AttributionPtr = std::unique_ptr<const Attribution>;

// Names and options, defaults first. Gradients, multipliers and relevance are read at the model input.
//   bcos             none: contribution maps of B-cos networks (E; Boehle et al. 2022); refused for other backbones
//   gradient         none: the gradient, summed over channels with its sign
//   ixg              none: input x gradient (attribution.md A.2)
//   guided_backprop  none: the guided gradient (A.5; Springenberg et al. 2015)
//   intgrad          nodes 50 (1 to 1000), images_at_once 16: Integrated Gradients (A.3; Sundararajan et al. 2017)
//   gradcam          layer "features" | any node of the backbone, relu false (C; Selvaraju et al. 2017)
//   lrp              composite "epsilon_gamma_box" | name | {...} (attribution/composites.h), residual "norm" | "copy",
//                    start "logit" | "one" | "abs" (B; Bach et al. 2015)
// Of vision transformers alone (attribution/methods/token_attention.h; F.1 to F.4):
//   raw_attention      head -1 (their mean) | 0 ..., readout "auto" | "class_token" | "patches"
//   attention_rollout  first 0 (layer), readout, fusion "mean" | "max" | "min", discard 0 (0 to 1)
//   chefer             first 0, readout, variant "attention" | "relevance"
// The method takes what it needs to know of the network (zB's bounds) from the session's parameters. Throws hp::Error
// on an unknown name or option.
AttributionPtr make_attribution(const std::string& name, const nlohmann::json& options);
std::vector<std::string> attribution_names();

}  // namespace hp
