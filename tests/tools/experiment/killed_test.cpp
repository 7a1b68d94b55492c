// kill -9 at random moments, disks that are full, states that are damaged, experiments that changed: of whole runs,
// with a backbone to train, probes on augmented pictures, and maps to score.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "runtime/random.h"
#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

struct Bench {
  TemporaryFolder folder;
  json experiment;
  double seconds = 0;  // that an undisturbed run took

  Bench() {
    write_image_folder(folder / "data", 8, 4);
    experiment = grid_experiment(folder.path());
    experiment["pretrain"] = {{"model", "cifar_resnet20_w4"},
                              {"epochs", 3},
                              {"batch_size", 12},
                              {"learning_rate", 0.05},
                              {"augment", {{"crop", "padded"}, {"padding", 2}}}};
    experiment["backbone"]["weights"] = (folder / "trained.safetensors").string();
    experiment["training"] = {{"epochs", 12}, {"batch_size", 12}, {"augment", {{"crop", "padded"}, {"padding", 2}}}};
    experiment["attributions"] = json::parse(R"([{"method": "gradcam"}, {"method": "lrp"}])");
    experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 6, "confidence": 0}])");
    experiment["memory"] = {{"explain_batch", 1}};
    experiment["output"] = {{"gallery", 1}};
    write_file(folder / "experiment.json", experiment.dump());
  }

  fs::path output() const { return folder / "out"; }
  fs::path whole() const { return folder / "whole"; }
  fs::path weights() const { return folder / "trained.safetensors"; }

  void make_whole() {
    const auto begin = std::chrono::steady_clock::now();
    const Ran ran = Program(folder.path(), arguments(whole(), {})).wait();
    REQUIRE_MESSAGE(ran.code == 0, ran.errors);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    fs::rename(weights(), folder / "whole.safetensors");
  }
  std::vector<std::string> arguments(const fs::path& where, const std::vector<std::string>& more) const {
    std::vector<std::string> all{(folder / "experiment.json").string(), "--output", where.string()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Ran run(Limits limits = {}, const std::vector<std::string>& more = {"--resume"}) const {
    return Program(folder.path(), arguments(output(), more), limits).wait();
  }
  // Runs until something is there, then kills.
  bool kill_when(const std::function<bool()>& there) const {
    Program program(folder.path(), arguments(output(), {"--resume"}));
    while (program.running() && !there()) sleep_for(0.0005);
    program.kill_at_once();
    return program.wait().code == -1;
  }
  void check_completes() const {
    const Ran ran = run();
    REQUIRE_MESSAGE(ran.code == 0, ran.errors);
    CHECK(read_file(weights()) == read_file(folder / "whole.safetensors"));
    CHECK(results_of(output()) == results_of(whole()));
    for (const char* file :
         {"records.csv", "results.csv", "probes/linear-ce.safetensors", "probes/linear-bce.safetensors",
          "scores/grids2x2/gradcam.jsonl", "scores/grids2x2/lrp.jsonl"})
      CHECK_MESSAGE(read_file(output() / file) == read_file(whole() / file), file);
    for (const auto& entry : fs::recursive_directory_iterator(output()))
      CHECK_FALSE_MESSAGE(contains(entry.path().string(), ".partial-"), entry.path());
    CHECK_FALSE(fs::exists(output() / "pretraining.state"));
    CHECK_FALSE(fs::exists(output() / "probes.state"));
  }
};

// What a file holds now must still be its beginning later.
struct Growing {
  fs::path file;
  std::string text;
  void check() {
    const std::string now = read_file(file);
    const size_t complete = text.rfind('\n') + 1;
    CHECK_MESSAGE(now.starts_with(text.substr(0, complete)), file);
    text = now;
  }
};

}  // namespace

TEST_CASE("killed: ten times at random moments, and the results are those of an undisturbed run") {
  Bench bench;
  bench.make_whole();
  const Random random(static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()), "moments");
  Growing gradcam{bench.output() / "scores/grids2x2/gradcam.jsonl", {}},
      lrp{bench.output() / "scores/grids2x2/lrp.jsonl", {}};
  int killed = 0;
  for (uint64_t i = 0; i < 10; ++i) {
    Program program(bench.folder.path(), bench.arguments(bench.output(), {"--resume"}));
    sleep_for(random.uniform(i) * 0.4 * bench.seconds);
    program.kill_at_once();
    killed += program.wait().code == -1 ? 1 : 0;
    gradcam.check();
    lrp.check();
  }
  MESSAGE("killed ", killed, " times; an undisturbed run takes ", bench.seconds, " s");
  CHECK(killed >= 5);
  bench.check_completes();
}

TEST_CASE("killed: what a run left half-written goes with the next one, wherever it lies") {
  Bench bench;
  bench.make_whole();
  bench.check_completes();
  std::vector<fs::path> folders{bench.output()};
  for (const auto& entry : fs::recursive_directory_iterator(bench.output()))
    if (entry.is_directory()) folders.push_back(entry.path());
  CHECK(folders.size() > 5);
  for (const fs::path& folder : folders)
    write_file(folder / "results.csv.partial-2147483600-0", "");  // no such process
  bench.check_completes();
}

TEST_CASE("killed: while the maps are scored, and no batch is scored twice") {
  Bench bench;
  bench.make_whole();
  const fs::path log = bench.output() / "scores/grids2x2/lrp.jsonl";
  const auto lines = [&] {
    const std::string text = read_file(log);
    return std::count(text.begin(), text.end(), '\n');
  };
  int killed = 0;
  for (const int64_t wanted : {2, 4, 6}) {  // the first line is the header
    killed += bench.kill_when([&] { return lines() >= wanted; }) ? 1 : 0;
    const std::string before = read_file(log);
    const std::string complete = before.substr(0, before.rfind('\n') + 1);
    CHECK(lines() >= wanted);
    CHECK(read_file(bench.whole() / "scores/grids2x2/lrp.jsonl").starts_with(complete));
  }
  CHECK(killed >= 2);
  bench.check_completes();
  CHECK(contains(read_file(bench.output() / "run.log"), "lrp on grids2x2: "));
  CHECK(contains(read_file(bench.output() / "run.log"), " of 6 grids scored by an earlier run"));
}

TEST_CASE("killed: a disk that fills up is said with the file, and the run goes on when there is room") {
  Bench bench;
  bench.make_whole();
  int refused = 0;
  for (const rlim_t bytes : {20'000, 60'000, 150'000, 400'000}) {
    CAPTURE(bytes);
    const Ran ran = bench.run({.file_bytes = bytes});
    if (ran.code == 0) continue;
    ++refused;
    CHECK(ran.code == 1);
    CHECK_MESSAGE(contains(ran.complaint(), "cannot write " + bench.folder.path().string()), ran.complaint());
    CHECK_MESSAGE(contains(ran.complaint(), "File too large"), ran.complaint());
  }
  CHECK(refused >= 2);
  bench.check_completes();
}

TEST_CASE("killed: a damaged state is refused with its name and what to do, and then made anew") {
  Bench bench;
  bench.make_whole();
  const struct {
    const char* file;
    bool cut_is_harmless;  // the file of scores: what is cut off was not written
  } states[] = {{"pretraining.state", false}, {"probes.state", false}, {"scores/grids2x2/gradcam.jsonl", true}};
  for (const auto& state : states) {
    const fs::path file = bench.output() / state.file;
    CAPTURE(file.string());
    if (fs::path(state.file).filename() == "probes.state") {
      // States of probes are written once a minute, and when a run is stopped.
      Program program(bench.folder.path(), bench.arguments(bench.output(), {}));
      while (program.running() && !contains(read_file(bench.output() / "run.log"), "linear-ce loss")) sleep_for(0.0005);
      program.interrupt();
      CHECK(program.wait().code == 1);
    } else {
      bench.kill_when([&] { return fs::exists(file) && fs::file_size(file) > 200; });
    }
    REQUIRE(fs::exists(file));
    const std::string good = read_file(file);
    std::string flipped = good;
    flipped[flipped.size() / 2] ^= 4;
    write_file(file, flipped);
    const Ran ran = bench.run();
    CHECK(ran.code == 1);
    CHECK_MESSAGE(contains(ran.complaint(), file.string()), ran.complaint());
    CHECK_MESSAGE(contains(ran.complaint(), "damaged"), ran.complaint());
    CHECK_MESSAGE(contains(ran.complaint(), "delete "), ran.complaint());
    CHECK(read_file(file) == flipped);
    write_file(file, good.substr(0, good.size() / 2));
    if (!state.cut_is_harmless) {
      const Ran cut = bench.run();
      CHECK(cut.code == 1);
      CHECK_MESSAGE(contains(cut.complaint(), file.string()), cut.complaint());
      CHECK_MESSAGE(contains(cut.complaint(), "damaged"), cut.complaint());
      fs::remove(file);  // as it was told
    }
  }
  bench.check_completes();
}

TEST_CASE("killed: a changed experiment is refused by --resume, with every key that differs and both values") {
  Bench bench;
  bench.make_whole();
  bench.kill_when([&] { return fs::exists(bench.output() / "pretraining.state"); });
  const auto complaint = [&](const std::vector<std::string>& settings) {
    std::vector<std::string> more{"--resume"};
    for (const std::string& setting : settings) more.insert(more.end(), {"--set", setting});
    const Ran ran = bench.run({}, more);
    CHECK(ran.code == 1);
    return ran.complaint();
  };
  const std::string one = complaint({"pretrain.epochs=4"});
  CHECK_MESSAGE(contains(one, "/pretrain/epochs: 3 -> 4"), one);
  CHECK_FALSE(contains(one, "/pretrain/batch_size"));
  CHECK(contains(one, (bench.output() / "experiment.json").string()));
  const std::string three = complaint({"seed=9", "training.augment.flip=0", "probes.1.loss=ce"});
  CHECK_MESSAGE(contains(three, "/probes/1/loss: \"bce\" -> \"ce\", /seed: 3 -> 9, /training/augment/flip: 0.5 -> 0"),
                three);
  const std::string list = complaint({"probes=[{\"name\": \"linear-ce\"}]"});
  CHECK_MESSAGE(contains(list, "/probes: [{"), list);
  CHECK_MESSAGE(contains(list, " -> [{"), list);
  // Without --resume another pre-training does not overwrite what is there, either.
  const Ran plain = bench.run({}, {"--set", "pretrain.epochs=4"});
  CHECK(plain.code == 1);
  CHECK_MESSAGE(contains(plain.complaint(), "belongs to another experiment"), plain.complaint());
  const Ran restored = bench.run({}, {});  // puts the experiment's file back
  CHECK(restored.code == 0);
  bench.check_completes();
}
