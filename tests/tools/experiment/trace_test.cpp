// hp-run --trace and --profile: what a real, small experiment reports of itself.
#include <doctest/doctest.h>

#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json small_experiment(const fs::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["attributions"] = json::parse(R"([{"method": "lrp"}, {"method": "gradcam"}])");
  experiment["evaluations"] =
      json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 4, "confidence": 0, "methods": ["lrp", "gradcam"]}])");
  experiment["training"]["epochs"] = 2;
  return experiment;
}

bool starts_with_any(const std::string& name, std::initializer_list<const char*> heads) {
  return std::any_of(heads.begin(), heads.end(), [&](const char* head) { return name.starts_with(head); });
}

}  // namespace

TEST_CASE("trace: names, phases and sums of a small experiment") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const Ran ran = hp_run(folder.path(), small_experiment(folder.path()),
                         {"--trace", (folder / "trace.json").string(), "--profile", "--threads", "1"});
  REQUIRE_MESSAGE(ran.code == 0, ran.errors);
  const json trace = json::parse(read_file(folder / "trace.json"));
  std::map<std::string, int> counts;
  double nodes = 0, passes = 0, own = 0;  // microseconds on the computing thread
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const std::string name = event["name"];
    ++counts[name];
    if (event["tid"] != 0) {
      CHECK(starts_with_any(name, {"data/decode", "data/transform"}));
      continue;
    }
    const double duration = event["dur"];
    if (starts_with_any(name, {"forward/", "prepare/", "lrp/", "vjp/", "walk/"})) nodes += duration;
    if (name == "forward" || name == "prepare" || name == "walk") passes += duration;
    if (starts_with_any(
            name, {"run/open", "run/features", "run/probes", "run/lrp", "run/gradcam", "run/save", "run/statistics"}))
      own += duration;  // stages, none within another
    if (name == "forward/layer3.2.conv2") {
      CHECK(event["args"]["flops"].get<double>() > 0);
      CHECK(event["args"]["bytes"].get<double>() > 0);
      CHECK(event["args"]["GFLOP/s"].get<double>() > 0);
    }
  }
  for (const char* name : {"data/decode", "data/transform", "data/wait", "forward/layer3.2.conv2",
                           "lrp/gamma/layer3.2.conv2", "prepare/gamma/layer3.2.conv2", "lrp/z_box/conv1",
                           "lrp/norm/layer1.0.add", "vjp/head", "train/step", "train/update", "run/score"})
    CHECK_MESSAGE(counts[name] > 0, name);
  // The nodes of a pass take its time: what lies between them is at most a tenth.
  MESSAGE("nodes " << nodes / passes * 100 << " % of the passes, stages "
                   << own / trace["otherData"]["seconds"].get<double>() * 1e-4 << " % of the run");
  CHECK(nodes > 0.9 * passes);
  CHECK(nodes <= passes * 1.001);
  CHECK(own > 0.9e6 * trace["otherData"]["seconds"].get<double>());
  for (const char* part : {"The most expensive nodes", "Where the time went", "worker threads", "trace: "})
    CHECK(contains(ran.output, part));
}

TEST_CASE("trace: a run with it gives the bits of one without") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  REQUIRE(hp_run(folder.path(), small_experiment(folder.path()), {"--output", (folder / "plain").string()}).code == 0);
  REQUIRE(hp_run(folder.path(), small_experiment(folder.path()),
                 {"--output", (folder / "traced").string(), "--trace", (folder / "trace.json").string()})
              .code == 0);
  CHECK(read_file(folder / "plain/records.csv") == read_file(folder / "traced/records.csv"));
}

TEST_CASE("trace: a place that cannot be written to is refused before the run, and not together with --dry-run") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const Ran refused =
      hp_run(folder.path(), small_experiment(folder.path()), {"--trace", (folder / "absent/trace.json").string()});
  CHECK(refused.code == 1);
  CHECK(contains(refused.errors, "absent/trace.json"));
  CHECK_FALSE(fs::exists(folder / "out"));
  CHECK(hp_run(folder.path(), small_experiment(folder.path()), {"--dry-run", "--profile"}).code == 2);
  CHECK(
      hp_run(folder.path(), small_experiment(folder.path()), {"--dry-run", "--trace", (folder / "trace.json").string()})
          .code == 2);
  CHECK_FALSE(fs::exists(folder / "trace.json"));
}
