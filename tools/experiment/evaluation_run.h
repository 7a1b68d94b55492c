// Explaining and scoring: every attribution on the images of every evaluation, for all probes at once.
#pragma once

#include <filesystem>
#include <functional>

#include "tools/experiment/gallery.h"

namespace hp {

struct EvaluationRun {
  const FeatureRun& run;
  const SplitData& test;
  const TestedProbes& probes;
  std::filesystem::path folder;
  Results& results;
  std::function<void()> save;  // called now and then, with the results so far
  bool partial_records;        // records.csv is written before it is complete
};

// Fills rows, differences and gallery of the results and writes records.csv. False if it was cancelled: what was scored
// until then counts. Every scored batch is written to <folder>/scores/<image set>/<method>.jsonl at once, and a later
// run with the same program, network, probes, images and settings takes it from there.
bool evaluate(const EvaluationRun& run);

}  // namespace hp
