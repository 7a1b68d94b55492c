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
  bool resume = false;  // refuses an experiment that differs from that of the output folder
};

enum class Outcome { complete, cancelled };

// Writes into the output folder: experiment.json (resolved), run.log, features/ (unless the experiment names another
// cache), probes/, scores/, maps/, records.csv, results.json, results.csv, report.html. What an earlier run left there,
// however it ended, is used again where it was made from the same things by the same settings: shards of features, the
// states of trainings (pretraining.state, probes.state, gone when these are done), probes, and the scores of every
// batch of maps; what was made otherwise is made anew. The results have the same bits as those of an uninterrupted run.
// With `resume` a changed experiment is refused, with the keys that differ. A second run into a folder that one is
// working in is refused. With dry_run everything is checked and the plan with its expected cost is printed; nothing is
// written. Throws hp::Error on whatever cannot be done.
Outcome run_experiment(const Experiment& experiment, const RunOptions& options, const std::atomic<bool>& cancelled);

}  // namespace hp
