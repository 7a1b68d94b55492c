// Relevance of one image, node by node from the logit to the model input, and where it is lost or created.
#pragma once

#include <string>
#include <vector>

#include "attribution/session.h"

namespace hp {

// What lies at one node. Sums are of its relevance: multiplier times value, or relevance as it is.
struct NodeRelevance {
  std::string node, rule;  // no rule where the walk ends
  bool has_bias = false;   // the rule's denominator may hold a bias, which takes its share
  bool is_cut = false;     // every path from the logit to the model input passes here
  bool is_softmax = false;
  double sum = 0, positive = 0, negative = 0;
  double handed_on = 0;          // what its rule gave to all its inputs together; the sum itself where the walk ends
  std::vector<double> channels;  // the sum of each channel
  Tensor relevance;              // [1, height, width, channels] or [1, columns], in host memory

  double lost() const { return sum - handed_on; }  // below 0: created
};

struct RelevanceReport {
  int target = 0;
  double logit = 0;
  std::vector<float> logits;
  std::vector<NodeRelevance> nodes;  // in the order of the walk: "logits" first, "model_input" last

  const NodeRelevance& at(const std::string& node) const;  // throws hp::Error that names the node
  // Of the logit, in the order of the walk: the nodes that lose or create more than `least` of it.
  std::vector<const NodeRelevance*> leaks(double least) const;
  // The softmaxes that relevance passes, in the order of the walk. AttnLRP's rule conserves nothing there
  // (attribution.md F.5); rules that take attention for a constant never come here.
  std::vector<const NodeRelevance*> softmaxes() const;
  // The relevance at the model input, over that at the logit.
  double kept() const;
};

// One image [1, height, width, 3] in host memory, the first head of the session, one target (negative: the class of
// the highest logit). Relevance starts as the target's logit.
RelevanceReport relevance_of(Session& session, const Tensor& image, int target, const WalkPlan& plan);

}  // namespace hp
