// Experiments that train their backbone first.
#include <doctest/doctest.h>

#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json pretrain_experiment(const fs::path& folder) {
  return {{"name", "pretrained"},
          {"threads", 1},
          {"backbone", {{"weights", (folder / "trained.safetensors").string()}}},
          {"pretrain",
           {{"model", "cifar_resnet20_w8"},
            {"epochs", 3},
            {"batch_size", 12},
            {"learning_rate", 0.05},
            {"augment", {{"crop", "padded"}, {"padding", 2}}}}},
          {"data", {{"type", "image-folder"}, {"root", (folder / "data").string()}}},
          {"probes", json::parse(R"([{"name": "linear-ce"}, {"name": "own", "head": "converted"}])")},
          {"training", {{"epochs", 2}, {"batch_size", 24}}}};
}

Outcome run_resumed(const json& experiment, const fs::path& output) {
  const std::atomic<bool> cancelled = false;
  RunOptions options;
  options.output = output;
  options.resume = true;
  return run_experiment(Experiment::parse(experiment, "."), options, cancelled);
}

}  // namespace

TEST_CASE("pretrain: the backbone is trained, written, evaluated and used again") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data");
  const json experiment = pretrain_experiment(folder.path());
  REQUIRE(run_here(experiment, folder / "out") == Outcome::complete);
  const json results = results_of(folder / "out");
  const json& curves = results["pretraining"];
  CHECK(curves["model"] == "cifar_resnet20_w8");
  REQUIRE(curves["loss"].size() == 3);
  CHECK(curves["test_top1"].size() == 3);
  CHECK(curves["loss"][2] < curves["loss"][0]);
  CHECK(results["probes"].size() == 2);
  // The classifier that came with the training is as good as the last epoch's test said.
  CHECK(results["probes"][1]["top1"].get<double>() ==
        doctest::Approx(curves["test_top1"][2].get<double>()).epsilon(0.03));
  CHECK(contains(read_file(folder / "out/report.html"), "Pre-training"));
  CHECK_FALSE(fs::exists(folder / "out/pretraining.state"));

  const std::string weights = read_file(folder / "trained.safetensors");
  CHECK(run_here(experiment, folder / "second") == Outcome::complete);
  CHECK(contains(read_file(folder / "second/run.log"), "cifar_resnet20_w8: trained by an earlier run"));
  CHECK(read_file(folder / "trained.safetensors") == weights);
  CHECK(results_of(folder / "second")["pretraining"] == curves);

  json other = experiment;
  other["pretrain"]["learning_rate"] = 0.1;
  CHECK(contains(error_of([&] { run_here(other, folder / "third"); }), "was not made by this pre-training"));
  CHECK(read_file(folder / "trained.safetensors") == weights);
}

TEST_CASE("pretrain: a stopped run goes on to the same weights; a changed experiment does not") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data");
  const json experiment = pretrain_experiment(folder.path());
  REQUIRE(run_here(experiment, folder / "whole") == Outcome::complete);
  const std::string weights = read_file(folder / "trained.safetensors");
  fs::remove(folder / "trained.safetensors");

  const fs::path output = folder / "out";
  CHECK(run_here(experiment, output, true) == Outcome::cancelled);
  REQUIRE(fs::exists(output / "pretraining.state"));
  const std::string state = read_file(output / "pretraining.state");
  json changed = experiment;
  changed["pretrain"]["epochs"] = 4;
  const std::string refused = error_of([&] { run_resumed(changed, output); });
  CHECK(contains(refused, "/pretrain/epochs"));
  CHECK_FALSE(contains(refused, "/pretrain/batch_size"));
  // Without --resume, too, hours of another pre-training are not overwritten.
  CHECK(contains(error_of([&] { run_here(changed, output); }), "belongs to another experiment"));
  CHECK(run_here(experiment, output, true) == Outcome::cancelled);  // the same experiment again
  CHECK(run_resumed(experiment, output) == Outcome::complete);
  CHECK(read_file(folder / "trained.safetensors") == weights);

  // Killed after the weights were written and before the state was removed.
  write_file(output / "pretraining.state", state);
  CHECK(run_here(experiment, output) == Outcome::complete);
  CHECK_FALSE(fs::exists(output / "pretraining.state"));
}

TEST_CASE("pretrain: mistakes are found before anything is trained") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data", 2, 1);
  json experiment = pretrain_experiment(folder.path());
  experiment["pretrain"]["model"] = "resnet19";
  CHECK(contains(error_of([&] { run_here(experiment, folder / "out"); }), "unknown architecture"));
  experiment["pretrain"]["model"] = "cifar_resnet20_w7";
  CHECK(contains(error_of([&] { run_here(experiment, folder / "out"); }), "unusable width"));
  experiment = pretrain_experiment(folder.path());
  experiment["attributions"] = json::parse(R"([{"method": "gradcam", "options": {"layer": "layer9"}}])");
  CHECK(contains(error_of([&] { run_here(experiment, folder / "out"); }), "no such node"));
  experiment = pretrain_experiment(folder.path());
  experiment["pretrain"]["augment"] = {{"crop", "resized"}, {"min_area", 0}};
  CHECK(contains(error_of([&] { run_here(experiment, folder / "out"); }), "min_area"));
  CHECK_FALSE(fs::exists(folder / "out"));
}
