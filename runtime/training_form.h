// The form of a graph for training steps: batch norms with given statistics become batch norms of the batch's own.
#pragma once

#include <string>
#include <vector>

#include "runtime/graph.h"

namespace hp {

// A batch norm whose statistics a trainer must follow: running = (1 - momentum) running + momentum * batch, the
// variance unbiased (torch's convention); an uncentred one has no mean and keeps the biased variance (protocol.md 1.2).
struct BatchNormInTraining {
  int node = -1;               // of the training form; Activations::saved(node) is [2, channels], mean and variance
  std::string mean, variance;  // parameters of the running values; empty: there is none
  int64_t values = 0;          // that each channel's statistics are taken over
  double variance_factor() const {
    const auto n = static_cast<double>(values);
    return mean.empty() || values < 2 ? 1 : n / (n - 1);
  }
};

struct TrainingForm {
  Graph graph;  // nodes keep their names and aliases; parameters of running statistics are gone
  std::vector<BatchNormInTraining> norms;
};

// Batch norms with a weight and a bias are changed, and uncentred ones; others (the normalisation of the input) stay. A
// ReLU that alone reads a batch norm becomes part of it, and both names stand for the result. The gradients of
// convolutions may save products (Conv2d::fast).
TrainingForm training_form(const Graph& graph);

// Parameters that have a gradient: all that some op reads otherwise than as statistics.
std::vector<int> trained_parameters(const Graph& graph);

}  // namespace hp
