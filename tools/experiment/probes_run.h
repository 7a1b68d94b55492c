// Training the probes of an experiment, or reading those that an earlier run of the same experiment left, and testing
// them.
#pragma once

#include <filesystem>
#include <vector>

#include "probes/evaluation.h"
#include "tools/experiment/results.h"
#include "tools/experiment/split.h"

namespace hp {

struct TestedProbes {
  std::vector<Probe> probes;
  std::vector<Predictions> predictions;  // on the test split
  std::vector<ProbeResult> results;
  bool complete = false;  // false if it was cancelled
};

// Probes lie in <folder>/probes as <name>.safetensors; one whose provenance names the same training (features, labels,
// recipe, seed, engine) is used as it is. Those that are missing train together; <folder>/probes.state is what an
// interrupted training of the same ones left, and is gone on from. Throws hp::Error where a converted classifier has
// other classes than the data.
TestedProbes train_and_test(const FeatureRun& run, const SplitData& train, const SplitData& test,
                            const std::filesystem::path& folder);

}  // namespace hp
