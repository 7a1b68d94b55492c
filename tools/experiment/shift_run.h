// The softmax-shift experiment: one vector added to every class's weights of a trained linear probe, scale by scale.
#pragma once

#include <filesystem>
#include <functional>

#include "tools/experiment/probes_run.h"

namespace hp {

struct ShiftRun {
  const FeatureRun& run;
  const SplitData& train;
  const SplitData& test;
  const TestedProbes& probes;
  std::filesystem::path folder;
  Results& results;
  std::function<void()> save;
};

// Throws hp::Error where the experiment's shift names no linear probe, or the data has several labels an image.
void check_shift(const Experiment& experiment, const SplitData& train);

// Fills results.shift: losses, accuracy and probabilities of every scale, GridPG of ixg, gradcam and lrp (with the
// options of the experiment's own attributions of these methods) on the grids of the unshifted probe, and the maps of
// the first grid. Scores of single maps go into <folder>/shift/records.csv, pictures below <folder>/shift/maps. False
// if it was cancelled. Nothing without a shift in the experiment.
bool run_shift(const ShiftRun& run);

}  // namespace hp
