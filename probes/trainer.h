// Trainer: fits all probes of an experiment together, from one pass over the features an epoch.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "probes/epoch_order.h"
#include "probes/features.h"
#include "probes/probe.h"
#include "probes/schedule.h"

namespace hp {

// Stochastic gradient descent (protocol.md 3.4). Losses are means, over the batch (ce) or over batch * classes (bce,
// uo_bce), so that a binary loss wants about `classes` times the rate of cross entropy for the same size of step. The
// protocol's 30 belongs to 2048 pooled features of ImageNet; the default is mild enough for most features: look at the
// first epoch's loss, and raise the rate by factors of 3 as long as it falls.
struct Recipe {
  double learning_rate = 0.1;
  double momentum = 0.9;
  double weight_decay = 0;
  bool nesterov = false;
  Schedule schedule;
  int64_t epochs = 30;
  int64_t batch_size = 128;  // the last batch of an epoch has what is left
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
  double learning_rate = 0;       // of the recipe, at the last step
  double samples_per_second = 0;
  std::vector<ProbeProgress> probes;
};

struct TrainingOptions {
  std::function<void(const Progress&)> progress;  // every few steps and at each epoch's end (step == steps)
  const std::atomic<bool>* cancelled = nullptr;
};

struct TrainingReport {
  int64_t epochs = 0;            // that were completed
  std::vector<Progress> curves;  // one entry an epoch
};

// Trains every probe that is trainable, in place: after each epoch `probes` hold that epoch's weights. A probe's result
// does not depend on the others. Same features, labels, recipe, initial weights, threads and device: same bits.
// Cancelling stops at the end of a step; the probes keep the last complete epoch. A loss that is not finite throws
// hp::Error that names the probe and a smaller rate; the probes keep the last complete epoch too.
TrainingReport train(std::span<Probe* const> probes, const Features& features, const Labels& labels,
                     const Recipe& recipe, Kernels& kernels, const TrainingOptions& options = {});

}  // namespace hp
