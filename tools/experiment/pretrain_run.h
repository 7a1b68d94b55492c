// Pre-training: trains the backbone of an experiment from scratch and writes it as a converted checkpoint would be.
#pragma once

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>

#include "runtime/kernels.h"
#include "tools/experiment/experiment.h"
#include "tools/experiment/journal.h"
#include "tools/experiment/results.h"
#include "tools/experiment/split.h"

namespace hp {

// Weights as pre-training would leave them, but untrained: for checks before it.
Parameters untrained_weights(const Experiment& experiment, const Dataset& images);

struct PretrainRun {
  const Experiment& experiment;  // with `pretrain`
  const SplitData& train;
  const SplitData& test;
  Kernels& kernels;
  std::string engine;           // what else decides the bits
  std::filesystem::path state;  // of an interrupted training
  Journal& journal;
  const std::atomic<bool>& cancelled;
};

// Writes experiment.weights: the trained parameters with the classifier as head.*, the architecture, the preprocessing
// and the curves. The file of an equal pre-training is left as it is, the state of one is gone on from. Nothing if it
// was cancelled. Throws hp::Error if a file or a state is there and something else: hours of work are not overwritten.
std::optional<PretrainingResult> pretrain(const PretrainRun& run);

}  // namespace hp
