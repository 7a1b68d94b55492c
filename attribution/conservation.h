// Conservation: does the relevance that starts at a logit arrive at the model input?
#pragma once

#include <string>
#include <vector>

#include "attribution/session.h"

namespace hp {

// Nodes that every path from node `to` up to node `from` passes, both included, in walking order (`from` first): all
// the relevance flows through each of them, so that its sums can be compared. Nothing if no path exists.
std::vector<int> cuts(const Graph& graph, int from, int to);

struct Conservation {
  struct Cut {
    std::string node;
    std::vector<float> sums;  // of the relevance, per row
  };
  std::vector<float> start;  // the relevance at the target's logit, per row
  std::vector<Cut> cuts;     // from "features" to "model_input"

  // The largest |sum - start| / |start| over the rows of a cut whose start is not 0.
  double error(const Cut& cut) const;
};

// Taps for the sums of every cut between the features and the model input that `taps` does not hold yet.
void add_cut_taps(const Graph& graph, std::vector<Tap>& taps);

// Reads the cuts out of a walk with add_cut_taps().
Conservation read_conservation(Session& session, const Pass& pass, const RelevanceTrace& trace,
                               std::vector<float> start, std::span<const Tap> taps);

}  // namespace hp
