// Split: one half of an experiment's data: the images, their labels, and the backbone's features of them.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "probes/feature_cache.h"
#include "probes/labels.h"
#include "tools/data/loader.h"
#include "tools/experiment/journal.h"
#include "tools/experiment/network.h"

namespace hp {

struct SplitData {
  std::string name;  // "train", "test"
  std::unique_ptr<Dataset> images;
  Labels labels{1, false};
  std::optional<FeatureCache> features;
};

SplitData open_split(const Experiment& experiment, Split split);

// Whether probes read features averaged over their positions: the file's "auto" does where every head can. Throws
// hp::Error where it says so and a head cannot.
bool pooled_features(const Experiment& experiment);

// Whether the features of the training split are needed as they are: by probes that train without augmentation, or by
// the softmax shift along their mean.
bool needs_train_features(const Experiment& experiment);

// The key and size of the features, without computing them.
FeatureKey feature_key(const Experiment& experiment, const Network& network, const SplitData& split,
                       const std::string& engine);

struct FeatureRun {
  const Experiment& experiment;
  const Network& network;
  Kernels& kernels;
  std::string engine;  // what else decides the bits: device and instruction set
  std::filesystem::path cache;
  Journal& journal;
  const std::atomic<bool>& cancelled;
};

// Opens the cache or fills it. Unreadable images are named in the journal and counted; false if it was cancelled.
bool compute_features(SplitData& split, const FeatureRun& run, std::vector<std::string>& notes);

}  // namespace hp
