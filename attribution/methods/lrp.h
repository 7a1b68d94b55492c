// Lrp: layer-wise relevance propagation by a composite of rules.
#pragma once

#include "attribution/composites.h"
#include "attribution/method.h"

namespace hp {

// The relevance at the target's logit o: o itself, 1, or |o|. The other two turn the map of a negative logit around
// (protocol.md Q6), so that they come with a warning.
enum class RelevanceStart { logit, one, abs };

struct LrpOptions {
  CompositeSpec composite;
  RelevanceStart start = RelevanceStart::logit;
};

// Bach et al. 2015. zB's bounds are those of RGB 0 and 1 after the session's own normalisation. A logit of exactly 0
// has no relevance to spread, whatever the start.
class Lrp final : public Attribution {
 public:
  explicit Lrp(LrpOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "lrp"; }
  MethodCost cost(const Graph& backbone) const override;

 private:
  Explanation run(const Question& question) const override;

  LrpOptions options_;
};

}  // namespace hp
