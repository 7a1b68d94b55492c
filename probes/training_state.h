// TrainingState: what a training writes to disk so that it can go on with the same bits after it was killed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "probes/trainer.h"
#include "runtime/parameters.h"

namespace hp {

// Random numbers come from counters (runtime/random.h), so that a position in the epoch says where they are, too.
struct TrainingPosition {
  // What has been seen of a learner in the running epoch.
  struct Tally {
    double loss = 0;
    int64_t right = 0;
  };
  int64_t epoch = 0, step = 0;  // steps made in this epoch
  int64_t seen = 0;             // samples of this epoch
  std::vector<Tally> tallies;
  std::vector<Progress> curves;  // of complete epochs
};

struct TrainingState {
  std::string experiment;  // StateOptions::experiment
  TrainingPosition position;
  std::vector<Parameters> learners;  // GraphTraining::state of each
};

// A .safetensors file with tensors "<learner>/<name>" and a digest over all of it, written beside its place and
// renamed.
void save_training_state(const std::filesystem::path& file, const TrainingState& state);

// What a state belongs to, without reading its tensors: StateOptions::experiment. Throws hp::Error with advice if the
// file is no state.
std::string experiment_of_state(const std::filesystem::path& file);

// Throws hp::Error with advice if the file is damaged, no such state, one of another experiment or of other learners.
TrainingState load_training_state(const std::filesystem::path& file, const std::string& experiment, size_t learners);

}  // namespace hp
