// Trainer: fits all probes of an experiment together, from one pass over the features an epoch, or a whole network on
// images.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "probes/epoch_order.h"
#include "probes/optimizer.h"
#include "probes/probe.h"
#include "probes/schedule.h"
#include "probes/training_inputs.h"

namespace hp {

// Losses are means, over the batch (ce) or over batch * classes (bce, uo_bce), so that under gradient descent a binary
// loss wants about `classes` times the rate of cross entropy for the same size of step. The protocol's 30 belongs to
// 2048 pooled features of ImageNet; the default is mild enough for most features: look at the first epoch's loss, and
// raise the rate by factors of 3 as long as it falls.
struct Recipe {
  double learning_rate = 0.1;
  OptimizerSettings optimizer;
  double label_smoothing = 0;
  Schedule schedule;
  int64_t epochs = 30;
  int64_t batch_size = 128;  // the last batch of an epoch has what is left
  int64_t accumulate = 1;    // batches whose gradients make one step, as one batch of all of them would
  Shuffle shuffle;           // its seed decides the order

  void check() const;  // throws hp::Error that names the setting out of range
};

struct ProbeProgress {
  std::string name;
  double loss = 0;   // mean over the samples of the epoch so far
  double top1 = -1;  // share of these that were right when they were used; -1 for multi-label data
};

struct Progress {
  int64_t epoch = 0, epochs = 0;  // from 0
  int64_t step = 0, steps = 0;    // made in this epoch, and in all of it
  int64_t seen = 0;               // samples of this epoch
  double learning_rate = 0;       // of the recipe, at the last step
  double samples_per_second = 0;
  std::vector<ProbeProgress> probes;
  std::optional<double> evaluation;  // what TrainingOptions::evaluate said at the end of the epoch
};

// Where training leaves its state, so that it can go on after an interruption and end with the same bits.
struct StateOptions {
  std::filesystem::path file;  // empty: no state is kept
  // Everything that decides the result, as text: a state of another one is refused.
  std::string experiment;
  bool resume = false;      // goes on from the file, if there is one
  double seconds = 60;      // within an epoch, at most so often; always at the last epoch's end and when cancelled
  bool every_epoch = true;  // at every epoch's end; false: there at most so often, too
  std::function<void(int64_t epoch, int64_t step)> resumed{};  // told where a resumed training goes on
};

struct TrainingOptions {
  std::function<void(const Progress&)> progress;  // about twice a second, and at each epoch's end (step == steps)
  // After each epoch, when the trained parameters hold its values. Nothing: it was cancelled.
  std::function<std::optional<double>()> evaluate;
  const std::atomic<bool>* cancelled = nullptr;
  StateOptions state;
};

struct TrainingReport {
  int64_t epochs = 0;            // that were completed, with those before a resumption
  std::vector<Progress> curves;  // one entry an epoch
};

// Trains every probe that is trainable, in place: after each epoch `probes` hold that epoch's weights. A probe's result
// does not depend on the others, though linear ones on pooled features are computed together. Same inputs, labels,
// recipe, initial weights, threads and device: same bits, however often it was interrupted and resumed. Cancelling
// stops at the end of a step; the probes keep the last complete epoch. A loss that is not finite throws hp::Error that
// names the probe and a smaller rate; the probes keep the last complete epoch too.
TrainingReport train(std::span<Probe* const> probes, TrainingInputs& inputs, const Labels& labels, const Recipe& recipe,
                     Kernels& kernels, const TrainingOptions& options = {});
TrainingReport train(std::span<Probe* const> probes, const Features& features, const Labels& labels,
                     const Recipe& recipe, Kernels& kernels, const TrainingOptions& options = {});

// A network to train as a whole: a graph in its form for evaluation, with one input and the node "logits".
struct TrainedNetwork {
  std::string name;
  Graph graph;
  LossKind loss = LossKind::ce;
  Parameters parameters;  // in host memory; they get each epoch's values
};

// The same for all parameters of a network: its batch norms normalise by the batch, and their running statistics
// follow.
TrainingReport train(TrainedNetwork& network, TrainingInputs& images, const Labels& labels, const Recipe& recipe,
                     Kernels& kernels, const TrainingOptions& options = {});

}  // namespace hp
