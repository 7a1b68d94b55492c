// Explanation: what a method found out about some logits, and what it was asked.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attribution/conservation.h"
#include "attribution/session.h"

namespace hp {

// What to keep besides the maps.
struct Watch {
  std::vector<std::string> layers;  // nodes whose whole relevance is wanted
  bool conservation = false;        // relevance sums at every cut
};

struct Question {
  Session& session;
  const Tensor& images;  // [batch, height, width, 3]
  std::span<const int> targets;
  const Watch& watch;
};

// Rows are (head * targets + t) * batch + b, as everywhere.
struct Explanation {
  Tensor map;                            // [rows, height, width]: what metrics and pictures read
  Tensor raw;                            // before the sum over channels, or before upsampling (GradCAM)
  RelevanceTrace trace;                  // of the walk, if there was one
  std::map<std::string, Tensor> layers;  // relevance at watched nodes that any reaches, [rows, ...]
  std::optional<Conservation> conservation;
  std::vector<float> logits;         // of the targets, one per row
  double negative_logits = 0;        // share of the rows whose logit is below 0
  std::vector<double> completeness;  // Integrated Gradients: |sum - (o(x) - o(0))| / |o(x) - o(0)| per row
  std::vector<std::string> warnings;
};

// The plan with the values of the watched nodes kept, also where a kernel would compute them on the way to another.
WalkPlan watched(WalkPlan plan, const Watch& watch);

// The explanation with the logits of a pass.
void set_logits(Explanation& explanation, std::vector<float> logits);

// Sum over the last axis: [rows, height, width, channels] -> [rows, height, width].
Tensor channel_sums(Context context, const Tensor& raw);

// Walks the pass back to `node` and whatever the question watches: everything of the explanation but `map` and `raw`.
// `seeds` as in Session::walk(); the logits must be set.
Explanation walk_to(const Question& question, const Pass& pass, int node, std::span<const float> seeds);

}  // namespace hp
