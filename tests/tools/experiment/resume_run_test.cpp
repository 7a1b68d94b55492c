// Runs that are stopped in any way go on where they were: nothing is computed twice, and the results are those of an
// undisturbed run, bit for bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Pictures, weights, and an experiment that trains probes and explains nothing.
json probes_alone(const fs::path& folder) {
  write_image_folder(folder / "data");
  write_weights(folder / "weights.safetensors");
  json experiment = grid_experiment(folder);
  experiment["attributions"] = experiment["evaluations"] = json::array();
  return experiment;
}

// Counts what is done by name, and asks for a stop when something was begun so often.
class Counter final : public Observer {
 public:
  std::map<std::string, int> counts;
  std::string stop_at;
  int stop_after = 0;
  std::atomic<bool> cancelled = false;

  void begin(const Activity& activity) override {
    const std::scoped_lock lock(mutex_);
    const std::string name = activity.name();
    if (++counts[name] == stop_after && name == stop_at) cancelled = true;
  }
  void end() override {}

 private:
  std::mutex mutex_;
};

Outcome run_counted(const json& experiment, const fs::path& output, Counter& counter) {
  RunOptions options;
  options.output = output;
  options.observer = &counter;
  return run_experiment(Experiment::parse(experiment, "."), options, counter.cancelled);
}

// Stops the run after every `step` activities of a name until it is complete. Returns how often they were begun in all.
std::map<std::string, int> run_in_pieces(const json& experiment, const fs::path& output, const std::string& name,
                                         int step) {
  std::map<std::string, int> total;
  for (int pieces = 1;; ++pieces) {
    REQUIRE(pieces < 200);
    Counter counter;
    counter.stop_at = name, counter.stop_after = step;
    const Outcome outcome = run_counted(experiment, output, counter);
    for (const auto& [key, count] : counter.counts) total[key] += count;
    if (outcome == Outcome::complete) {
      CHECK(pieces > 2);
      return total;
    }
  }
}

std::vector<std::string> files_below(const fs::path& folder, const std::vector<std::string>& parts) {
  std::vector<std::string> files;
  for (const std::string& part : parts) {
    if (!fs::exists(folder / part)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(folder / part))
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), folder).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Everything but the time it took.
void check_same_results(const fs::path& output, const fs::path& whole) {
  CHECK(results_of(output) == results_of(whole));
  const std::vector<std::string> parts{"probes", "maps", "scores", "shift"};
  std::vector<std::string> files = files_below(whole, parts);
  CHECK(files.size() > 50);
  CHECK(files_below(output, parts) == files);
  files.insert(files.end(), {"records.csv", "results.csv", "experiment.json"});
  for (const std::string& file : files) CHECK_MESSAGE((read_file(output / file) == read_file(whole / file)), file);
}

json evaluation_experiment(const fs::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["training"]["epochs"] = 4;
  experiment["attributions"] =
      json::parse(R"([{"method": "gradcam"}, {"method": "intgrad", "options": {"nodes": 2}}, {"method": "lrp"}])");
  experiment["evaluations"] = json::parse(R"([
    {"metric": "gridpg", "cells": 2, "grids": 4, "confidence": 0},
    {"metric": "entropy", "cells": 2, "grids": 3, "confidence": 0, "methods": ["lrp"]},
    {"metric": "gini", "on": "images", "images": 5, "methods": ["gradcam", "lrp"]}])");
  experiment["memory"] = {{"explain_batch", 1}};
  experiment["shift"] = {{"probe", "linear-ce"}, {"direction", "random"}, {"scales", {1, -1}}, {"cells", 2},
                         {"grids", 2},           {"confidence", 0}};
  return experiment;
}

}  // namespace

TEST_CASE("resume: a run that is stopped again and again explains and scores every batch once") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const json experiment = evaluation_experiment(folder.path());
  Counter whole;
  REQUIRE(run_counted(experiment, folder / "whole", whole) == Outcome::complete);
  const auto total = run_in_pieces(experiment, folder / "out", "run/score", 3);
  CHECK(total.at("run/score") == whole.counts.at("run/score"));
  CHECK(total.at("run/pictures") == whole.counts.at("run/pictures"));
  CHECK(total.at("train/step") == whole.counts.at("train/step"));
  check_same_results(folder / "out", folder / "whole");
  CHECK(contains(read_file(folder / "out/run.log"), "grids scored by an earlier run"));

  // A complete run has nothing left to do.
  Counter again;
  CHECK(run_counted(experiment, folder / "out", again) == Outcome::complete);
  CHECK(again.counts["run/score"] == 0);
  CHECK(again.counts["train/step"] == 0);
  CHECK(again.counts["data/decode"] == 0);
  check_same_results(folder / "out", folder / "whole");
}

TEST_CASE("resume: only what a change touches is explained again, and pictures that are gone") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = evaluation_experiment(folder.path());
  experiment.erase("shift");
  const fs::path output = folder / "out";
  Counter whole;
  REQUIRE(run_counted(experiment, output, whole) == Outcome::complete);
  const json results = results_of(output);
  fs::remove(output / "maps/grids2x2/1/lrp.linear-ce.2.png");
  Counter repaired;
  CHECK(run_counted(experiment, output, repaired) == Outcome::complete);
  CHECK(repaired.counts["run/score"] == 3);  // the second of four grids, and those behind it
  CHECK(fs::exists(output / "maps/grids2x2/1/lrp.linear-ce.2.png"));
  CHECK(results_of(output) == results);

  experiment["evaluations"][1]["grids"] = 4;  // of lrp alone
  Counter changed;
  CHECK(run_counted(experiment, output, changed) == Outcome::complete);
  CHECK(changed.counts["run/score"] == 4);
  CHECK(contains(read_file(output / "run.log"), "lrp on grids2x2: scores of other settings or another program"));

  experiment["training"]["epochs"] = 5;  // other probes: every map
  Counter retrained;
  CHECK(run_counted(experiment, output, retrained) == Outcome::complete);
  CHECK(retrained.counts["run/score"] == whole.counts["run/score"]);
}

TEST_CASE("resume: probes go on in the middle of an epoch, and no step is made twice") {
  const TemporaryFolder folder;
  json experiment = probes_alone(folder.path());
  experiment["probes"].push_back(json::parse(R"({"name": "mlp", "head": "mlp", "hidden": 8, "loss": "bce"})"));
  experiment["training"] = {{"epochs", 3}, {"batch_size", 8}, {"schedule", "s1"}};
  for (const bool augment : {false, true}) {
    CAPTURE(augment);
    if (augment) experiment["training"]["augment"] = {{"crop", "padded"}, {"padding", 3}};
    const fs::path output = folder / (augment ? "augmented" : "out"), undisturbed = output.string() + "-whole";
    Counter whole;
    REQUIRE(run_counted(experiment, undisturbed, whole) == Outcome::complete);
    const auto total = run_in_pieces(experiment, output, "train/step", 4);
    CHECK(total.at("train/step") == whole.counts.at("train/step"));
    CHECK(contains(read_file(output / "run.log"), "probes: training goes on behind epoch 1 and 3 steps"));
    CHECK_FALSE(fs::exists(output / "probes.state"));
    CHECK(results_of(output) == results_of(undisturbed));
    for (const char* probe : {"linear-ce", "linear-bce", "mlp"}) {
      const std::string file = fmt::format("probes/{}.safetensors", probe);
      CHECK_MESSAGE(read_file(output / file) == read_file(undisturbed / file), file);
    }
  }
}

TEST_CASE("resume: a probe's file that is damaged is said, and trained again with the same bits") {
  const TemporaryFolder folder;
  json experiment = probes_alone(folder.path());
  experiment["training"]["epochs"] = 2;
  const fs::path output = folder / "out", file = output / "probes/linear-bce.safetensors";
  REQUIRE(run_here(experiment, output) == Outcome::complete);
  const std::string good = read_file(file);
  std::string flipped = good;
  flipped[flipped.size() - 10] ^= 1;  // in a tensor
  for (const std::string& bad : {good.substr(0, good.size() / 2), flipped}) {
    write_file(file, bad);
    Counter counter;
    CHECK(run_counted(experiment, output, counter) == Outcome::complete);
    CHECK(counter.counts["train/step"] > 0);
    CHECK(read_file(file) == good);
  }
  const std::string log = read_file(output / "run.log");
  CHECK(contains(log, file.string()));
  CHECK(contains(log, "; it is trained again"));
  CHECK(contains(log, "linear-ce: trained by an earlier run"));
}

TEST_CASE("resume: a run killed while it wrote its probes takes them all from the state of their training") {
  const TemporaryFolder folder;
  json experiment = probes_alone(folder.path());
  experiment["training"]["epochs"] = 3;
  const fs::path output = folder / "out";
  REQUIRE(run_here(experiment, folder / "whole") == Outcome::complete);
  fs::create_directories(output / "probes/linear-bce.safetensors/in the way");  // the second one cannot be written
  CHECK(contains(error_of([&] { run_here(experiment, output); }), "cannot replace"));
  REQUIRE(fs::exists(output / "probes/linear-ce.safetensors"));
  REQUIRE(fs::exists(output / "probes.state"));
  fs::remove_all(output / "probes/linear-bce.safetensors");
  Counter counter;
  CHECK(run_counted(experiment, output, counter) == Outcome::complete);
  CHECK(counter.counts["train/step"] == 0);
  for (const char* probe : {"linear-ce", "linear-bce"}) {
    const std::string file = fmt::format("probes/{}.safetensors", probe);
    CHECK(read_file(output / file) == read_file(folder / "whole" / file));
  }
  CHECK(results_of(output) == results_of(folder / "whole"));
}
