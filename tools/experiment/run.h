// Run: an experiment from its file to its tables, pictures and report.
#pragma once

#include <atomic>
#include <filesystem>

#include "runtime/observer.h"
#include "tools/experiment/device.h"
#include "tools/experiment/experiment.h"

namespace hp {

struct RunOptions {
  std::filesystem::path output;
  bool dry_run = false;
  Observer* observer = nullptr;  // is told what runs: run/features, forward/conv1, data/decode ...
  OpenDevice open_device = open_cpu;
  bool resume = false;  // goes on with an interrupted run of the same experiment
};

enum class Outcome { complete, cancelled };

// With `pretrain` the backbone is trained first; its state lies in pretraining.state until it is done, and a run that
// was interrupted there goes on only with `resume`. A changed experiment is refused for that, with the keys that
// differ. Writes into the output folder: experiment.json (resolved), run.log, probes/, features/ (unless the experiment
// names another cache), maps/, records.csv, results.json, results.csv, report.html. What an interrupted run left
// (features, probes) is used again. A second run into a folder that one is working in is refused. With dry_run
// everything is checked and the plan with its expected cost is printed; nothing is written. Throws hp::Error on
// whatever cannot be done.
Outcome run_experiment(const Experiment& experiment, const RunOptions& options, const std::atomic<bool>& cancelled);

}  // namespace hp
