// Runs that are killed or kept from disk, memory or their folder: nothing half-written stays, the message says what to
// do, and the same command goes on with the same results.
#include <doctest/doctest.h>
#include <sys/mount.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/data/image.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// A sanitizer's own memory counts as the program's.
#ifdef __SANITIZE_ADDRESS__
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

// A short experiment with every kind of file, and what a run that nothing disturbs makes of it.
struct Bench {
  TemporaryFolder folder;
  json experiment;

  Bench() {
    write_image_folder(folder / "data", 6, 3);
    write_weights(folder / "weights.safetensors");
    experiment = grid_experiment(folder.path());
    experiment["training"]["epochs"] = 3;
    experiment["attributions"] = json::parse(R"([{"method": "gradcam"}, {"method": "lrp"}])");
    experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 3, "confidence": 0}])");
    experiment["memory"] = {{"explain_batch", 1}};
    write_file(folder / "experiment.json", experiment.dump());
  }

  fs::path output() const { return folder / "out"; }
  void make_whole() const { CHECK(run_here(experiment, folder / "whole") == Outcome::complete); }

  Ran run(Limits limits = {}, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{(folder / "experiment.json").string(), "--output", output().string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Program(folder.path(), arguments, limits).wait();
  }

  void check_completes() const {
    CHECK(run().code == 0);
    CHECK(results_of(output()) == results_of(folder / "whole"));
    CHECK(read_file(output() / "records.csv") == read_file(folder / "whole/records.csv"));
  }
};

// Whether every file under its final name can be read from begin to end. Returns how many there are.
int check_sound(const fs::path& folder) {
  int files = 0;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if (!entry.is_regular_file() || contains(path.filename().string(), ".partial-")) continue;
    CAPTURE(path.string());
    const std::string extension = path.extension().string();
    if (extension == ".json") CHECK(json::accept(read_file(path)));
    if (extension == ".safetensors") CHECK_NOTHROW(load_safetensors(path));
    if (extension == ".npy") CHECK_NOTHROW(read_npy(path));
    if (extension == ".png") CHECK_NOTHROW(decode_image(path));
    if (extension == ".html") CHECK(contains(read_file(path), "</html>"));
    if (extension == ".csv") CHECK(read_file(path).ends_with("\n"));
    ++files;
  }
  return files;
}

int partial_files(const fs::path& folder) {
  int count = 0;
  if (!fs::exists(folder)) return count;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    count += contains(entry.path().filename().string(), ".partial-") ? 1 : 0;
  return count;
}

bool any_file(const fs::path& folder, std::string_view part) {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (contains(entry->path().filename().string(), part)) return true;
  return false;
}

}  // namespace

TEST_CASE("starved: killed while it writes features, probes, maps and results") {
  const Bench bench;
  bench.make_whole();
  const fs::path output = bench.output();
  const std::vector<std::string> moments = {"shard-00000.safetensors.partial",
                                            "shard-",
                                            "manifest.json",
                                            "linear-ce.safetensors",
                                            "results.json",
                                            ".png",
                                            "records.csv",
                                            "lrp.",
                                            "report.html.partial"};
  int killed = 0;
  for (const std::string& moment : moments) {
    CAPTURE(moment);
    // What an earlier run left must not be taken for the moment.
    if (moment == "manifest.json" || moment == "shard-") fs::remove_all(output);
    if (moment == "records.csv" || moment == "results.json") fs::remove(output / moment);
    Program program(bench.folder.path(), {(bench.folder / "experiment.json").string(), "--output", output.string()});
    for (int waited = 0; program.running() && !any_file(output, moment) && waited < 60'000; ++waited) sleep_for(0.0005);
    program.kill_at_once();
    killed += program.wait().code == -1 ? 1 : 0;
    check_sound(output);
  }
  MESSAGE("killed ", killed, " of ", moments.size(), " times");
  CHECK(killed >= 5);
  bench.check_completes();
  CHECK(check_sound(output) > 20);
}

TEST_CASE("starved: files that may not grow") {
  const Bench bench;
  bench.make_whole();
  int refused = 0;
  for (const rlim_t bytes : {4096, 12'000, 40'000}) {
    CAPTURE(bytes);
    const Ran ran = bench.run({.file_bytes = bytes});
    CHECK(ran.code == 1);
    CHECK_MESSAGE(contains(ran.complaint(), "cannot write"), ran.complaint());
    CHECK_MESSAGE(contains(ran.complaint(), "File too large"), ran.complaint());
    ++refused;
    check_sound(bench.output());
    CHECK(partial_files(bench.output()) == 0);
  }
  CHECK(refused == 3);
  bench.check_completes();
}

TEST_CASE("starved: a full disk") {
  const Bench bench;
  fs::create_directories(bench.output());
  if (mount("tmpfs", bench.output().c_str(), "tmpfs", 0, "size=40k") != 0) {
    MESSAGE("skipped: a small file system cannot be mounted here");
    return;
  }
  const std::function<void()> unmount = [&] { umount2(bench.output().c_str(), MNT_DETACH); };
  const std::unique_ptr<const std::function<void()>, void (*)(const std::function<void()>*)> guard(
      &unmount, [](const std::function<void()>* action) { (*action)(); });
  bench.make_whole();
  for (const char* size : {"size=40k", "size=100k", "size=250k"}) {
    CAPTURE(size);
    REQUIRE(mount("tmpfs", bench.output().c_str(), "tmpfs", MS_REMOUNT, size) == 0);
    const Ran ran = bench.run();
    CHECK(ran.code == 1);
    CHECK_MESSAGE((contains(ran.complaint(), "No space left") || contains(ran.complaint(), "not enough room")),
                  ran.complaint());
    check_sound(bench.output());
    CHECK(partial_files(bench.output()) == 0);
  }
  REQUIRE(mount("tmpfs", bench.output().c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0);
  bench.check_completes();
}

TEST_CASE("starved: too little memory is said with how much it takes and what lowers it" * doctest::skip(sanitized)) {
  const Bench bench;
  bench.make_whole();
  int sized = 0, refused = 0;
  rlim_t enough = 0;
  for (rlim_t mebibytes = 12; enough == 0 && mebibytes < 2000; mebibytes += mebibytes / 4) {
    CAPTURE(mebibytes);
    const Ran ran = bench.run({.data_bytes = mebibytes << 20});
    check_sound(bench.output());
    if (ran.code == 0) {
      enough = mebibytes;
      break;
    }
    ++refused;
    CHECK(ran.code == 1);
    CHECK_MESSAGE(contains(ran.complaint(), "[memory]"), ran.errors);
    const bool names_setting = contains(ran.complaint(), "; lower ");
    CHECK_MESSAGE((names_setting || contains(ran.complaint(), "network")), ran.complaint());
    sized += names_setting && contains(ran.complaint(), " MiB that are needed at once") ? 1 : 0;
  }
  MESSAGE(refused, " limits refused, ", sized, " with the size; enough: ", enough, " MiB");
  CHECK(enough > 0);
  CHECK(refused >= 2);
  CHECK(sized >= 1);
  CHECK(results_of(bench.output()) == results_of(bench.folder / "whole"));
}

TEST_CASE("starved: a feature cache of another version or machine, or a damaged one, is computed again and said") {
  const Bench bench;
  bench.make_whole();
  CHECK(run_here(bench.experiment, bench.output()) == Outcome::complete);
  std::vector<fs::path> manifests;
  for (const auto& entry : fs::recursive_directory_iterator(bench.output() / "features"))
    if (entry.path().filename() == "manifest.json") manifests.push_back(entry.path());
  REQUIRE(manifests.size() == 2);
  const auto spoil = [&](const std::function<void(const fs::path&)>& change) {
    for (const fs::path& manifest : manifests) change(manifest);
    fs::remove(bench.output() / "run.log");
    CHECK(run_here(bench.experiment, bench.output()) == Outcome::complete);
    const std::string log = read_file(bench.output() / "run.log");
    CHECK(contains(log, "damaged or of another version; what does not fit was computed again"));
    CHECK_FALSE(contains(log, "from the cache"));
    CHECK(results_of(bench.output()) == results_of(bench.folder / "whole"));
  };
  spoil([](const fs::path& manifest) {  // as another version would have written it
    json other = json::parse(read_file(manifest));
    other["digest"] = std::string(64, '0');
    write_file(manifest, other.dump());
  });
  spoil([](const fs::path& manifest) { write_file(manifest, "{\"digest\": "); });
  spoil([](const fs::path& manifest) {
    const fs::path shard = manifest.parent_path() / "shard-00000.safetensors";
    std::string bytes = read_file(shard);
    bytes[bytes.size() - 5] ^= 1;
    write_file(shard, bytes);
  });
  // Another engine has a key, and so a folder, of its own.
  json other = bench.experiment;
  other["threads"] = 2;
  CHECK(run_here(other, bench.output()) == Outcome::complete);
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(bench.output() / "features")) folders += entry.is_directory() ? 1 : 0;
  CHECK(folders == 4);
}

TEST_CASE("starved: two runs at once into one folder") {
  const Bench bench;
  bench.make_whole();
  Program first(bench.folder.path(),
                {(bench.folder / "experiment.json").string(), "--output", bench.output().string()});
  while (first.running() && !fs::exists(bench.output() / "run.log")) sleep_for(0.001);
  const TemporaryFolder elsewhere;
  const Ran second =
      Program(elsewhere.path(), {(bench.folder / "experiment.json").string(), "--output", bench.output().string()})
          .wait();
  CHECK(second.code == 1);
  CHECK(contains(second.complaint(), "another run works in this folder"));
  CHECK(first.wait().code == 0);
  CHECK(results_of(bench.output()) == results_of(bench.folder / "whole"));
}

TEST_CASE("starved: a stopped rerun keeps the complete results of the same experiment") {
  Bench bench;
  bench.make_whole();
  const fs::path whole = bench.folder / "whole";
  const std::string results = read_file(whole / "results.json"), records = read_file(whole / "records.csv");
  CHECK(run_here(bench.experiment, whole, true) == Outcome::cancelled);
  CHECK(read_file(whole / "results.json") == results);
  CHECK(read_file(whole / "records.csv") == records);
  CHECK(contains(read_file(whole / "run.log"), "the complete results of an earlier run stay"));
  CHECK(run_here(bench.experiment, whole) == Outcome::complete);
  CHECK(read_file(whole / "records.csv") == records);
  // Another experiment does not hide behind them.
  bench.experiment["seed"] = 4;
  CHECK(run_here(bench.experiment, whole, true) == Outcome::cancelled);
  CHECK(results_of(whole)["complete"] == false);
}

TEST_CASE("starved: names that would share a file are refused") {
  Bench bench;
  const auto complaint = [&] { return error_of([&] { Experiment::parse(bench.experiment, "."); }); };
  bench.experiment["probes"] = json::parse(R"([{"name": "c"}, {"name": "b.c"}])");
  bench.experiment["attributions"] = json::parse(R"([{"method": "lrp", "name": "a"}])");
  bench.experiment["evaluations"][0].erase("methods");
  CHECK(complaint() == "");
  bench.experiment["attributions"].push_back(json::parse(R"({"method": "lrp", "name": "a.b"})"));
  CHECK(contains(complaint(), "/attributions/1/name: two pairs of attribution and probe would name the same file"));
  bench.experiment["attributions"][1]["name"] = "overview.a";
  CHECK(contains(complaint(), "/attributions/1/name: taken for file names"));
}
