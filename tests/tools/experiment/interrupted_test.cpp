// Runs that are stopped: what they leave, and that the same command completes them with the same results.
#include <doctest/doctest.h>

#include <thread>

#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/experiment/output_folder.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Enough maps that a run can be met in the middle of them.
json long_experiment(const fs::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["attributions"] = json::parse(R"([{"method": "gradcam"}, {"method": "ixg"}, {"method": "lrp"}])");
  experiment["evaluations"] = json::parse(R"([
    {"metric": "gridpg", "cells": 2, "grids": 8, "confidence": 0}, {"metric": "gini", "cells": 2, "grids": 8, "confidence": 0}])");
  experiment["memory"] = {{"explain_batch", 2}};
  return experiment;
}

// Runs in this process and cancels as soon as `file` is there and says `text`.
Outcome run_until(const json& experiment, const fs::path& output, const fs::path& file, const std::string& text) {
  std::atomic<bool> cancelled = false, ended = false;
  std::jthread watcher([&] {
    while (!ended && !contains(read_file(file), text)) sleep_for(0.0005);
    cancelled = true;
  });
  const Outcome outcome = run_experiment(Experiment::parse(experiment, "."), {output, false}, cancelled);
  ended = true;
  return outcome;
}

}  // namespace

TEST_CASE("interrupted: a cancelled run leaves what it finished, and the next one completes it") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const json experiment = long_experiment(folder.path());
  CHECK(run_here(experiment, folder / "whole") == Outcome::complete);
  const json whole = results_of(folder / "whole");
  const std::string records = read_file(folder / "whole/records.csv");

  const fs::path output = folder / "out";
  const auto results = [&] { return results_of(output); };
  CHECK(run_here(experiment, output, true) == Outcome::cancelled);  // before anything
  CHECK(results()["complete"] == false);
  CHECK(results()["probes"].empty());

  CHECK(run_until(experiment, output, output / "run.log", "features (train)") == Outcome::cancelled);
  CHECK(results()["complete"] == false);

  CHECK(run_until(experiment, output, output / "run.log", "epoch 1/20") == Outcome::cancelled);  // training
  CHECK(results()["complete"] == false);

  // The maps: results are there from the first batch of the first method on.
  CHECK(run_until(experiment, output, output / "results.json", "\"top1\": ") == Outcome::cancelled);
  CHECK(results()["complete"] == false);
  CHECK(results()["probes"].size() == 2);
  CHECK(results()["probes"] == whole["probes"]);

  CHECK(run_until(experiment, output, output / "run.log", "gradcam on grids2x2: 8 grids") == Outcome::cancelled);
  const json partial = results();
  CHECK(partial["complete"] == false);
  CHECK(partial["rows"].size() >= 4);
  CHECK(partial["rows"][0] == whole["rows"][0]);  // a method that was finished has its final numbers
  CHECK(contains(read_file(output / "report.html"), "</html>"));
  CHECK(contains(read_file(output / "run.log"), "stopped; the same command goes on from here"));

  CHECK(run_here(experiment, output) == Outcome::complete);
  CHECK(results() == whole);
  CHECK(read_file(output / "records.csv") == records);
  for (const char* probe : {"linear-ce", "linear-bce"}) {
    const std::string file = fmt::format("probes/{}.safetensors", probe);
    CHECK(read_file(output / file) == read_file(folder / "whole" / file));
  }
}

TEST_CASE("interrupted: Ctrl-C again and again") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const json experiment = long_experiment(folder.path());
  const fs::path output = folder / "out";
  write_file(folder / "experiment.json", experiment.dump());
  int interrupted = 0;
  Ran last;
  for (double delay = 0.02; last.code != 0 && delay < 60; delay *= 2) {
    fs::remove(output / "run.log");
    Program program(folder.path(), {(folder / "experiment.json").string(), "--output", output.string()});
    while (program.running() && !fs::exists(output / "run.log")) sleep_for(0.002);  // the work begins here
    for (double waited = 0; waited < delay && program.running(); waited += 0.01) sleep_for(0.01);
    program.interrupt();
    last = program.wait();
    if (last.code == 0) break;
    ++interrupted;
    CHECK(last.code == 1);
    CHECK(last.complaint() == "stopped; the same command goes on from here");
    CHECK(results_of(output)["complete"] == false);
  }
  CHECK(last.code == 0);
  CHECK(interrupted >= 1);
  MESSAGE("interrupted ", interrupted, " times");
  CHECK(run_here(experiment, folder / "whole") == Outcome::complete);
  CHECK(results_of(output) == results_of(folder / "whole"));
  CHECK(read_file(output / "records.csv") == read_file(folder / "whole/records.csv"));
}

TEST_CASE("interrupted: a second run into the same folder is refused") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data", 4, 2);
  write_weights(folder / "weights.safetensors");
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = experiment["evaluations"] = json::array();
  experiment["training"]["epochs"] = 2;
  {
    const OutputFolder held(folder / "out");
    const Ran ran = hp_run(folder.path(), experiment);
    CHECK(ran.code == 1);
    CHECK(contains(ran.errors, "hp-run: [run] another run works in this folder; got " + (folder / "out").string()));
    CHECK_FALSE(fs::exists(folder / "out/experiment.json"));
    CHECK(hp_run(folder.path(), experiment, {"--dry-run"}).code == 0);
  }
  CHECK(hp_run(folder.path(), experiment).code == 0);
}
