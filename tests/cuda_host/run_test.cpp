// The whole hp-run on the CUDA kernels: an experiment of all methods gives the CPU's predictions, probes and maps. On
// the CPU by tests/cuda_host; on a GPU by tests/cuda_gpu, which says that it was skipped where there is none.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "probes/probe.h"
#include "runtime/safetensors.h"
#include "tests/places.h"
#include "tests/support/small_nets.h"
#include "tests/tools/experiment/comparison.h"
#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"
#include "tests/tools/experiment/transformers.h"
#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/conversion.h"

using namespace hp;
using namespace hp::test;
using hp::testing::relative_error;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// 200 training images, 2 grids, 4 nodes of Integrated Gradients, all methods.
json whole_experiment(const fs::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["data"]["train_limit"] = 200;
  experiment["data"]["test_limit"] = 40;
  experiment["attributions"].push_back(
      {{"method", "lrp"}, {"name", "lrp-ab"}, {"options", {{"composite", "epsilon_alpha2_beta1"}}}});
  experiment["evaluations"] = json::parse(R"([
    {"metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0},
    {"metric": "entropy", "cells": 2, "grids": 2, "confidence": 0},
    {"metric": "gini", "cells": 2, "grids": 2, "confidence": 0}])");
  experiment["output"] = {{"gallery", 2}};
  return experiment;
}

std::vector<int64_t> predictions(const Tensor& logits) {
  std::vector<int64_t> best;
  for (int64_t row = 0; row < logits.shape()[0]; ++row) {
    const float* begin = logits.rows(row, row + 1).floats();
    best.push_back(std::max_element(begin, begin + logits.shape()[1]) - begin);
  }
  return best;
}

void check_probes(const fs::path& cpu, const fs::path& cuda, const json& results, int64_t test_images) {
  const Tensor want_features = cached_features(cpu, test_images), features = cached_features(cuda, test_images);
  CHECK(relative_error(features, want_features) <= 1e-5);
  for (const json& probe : results["probes"]) {
    const std::string name = probe["name"];
    CAPTURE(name);
    const fs::path file = fs::path("probes") / (name + ".safetensors");
    const Probe want = Probe::load(cpu / file), got = Probe::load(cuda / file);
    for (const std::string& parameter : want.parameters.names())
      CHECK(relative_error(got.parameters.at(parameter), want.parameters.at(parameter)) <= 1e-4);
    const Tensor want_logits = logits_from(cpu / file, want_features), logits = logits_from(cuda / file, features);
    CHECK(predictions(logits) == predictions(want_logits));
    CHECK(relative_error(logits, want_logits) <= 1e-4);
  }
}

// The project's tolerance for another order of the sums: gradients to 1e-4; of relevance the median map to 1e-4, and a
// single one to 1e-2.
void check_maps(const fs::path& cpu, const fs::path& cuda, const json& experiment) {
  const auto grids = experiment["evaluations"][0]["grids"].get<size_t>();
  for (const json& attribution : experiment["attributions"]) {
    const std::string method = attribution["method"], name = attribution.value("name", method);
    const bool relevance = method == "lrp" || name == "chefer-relevance";
    CAPTURE(name);
    const MapComparison maps = compare_maps(cpu, cuda, name);
    MESSAGE(name, ": median ", maps.median(), ", largest ", maps.largest());
    CHECK(maps.errors.size() == grids * experiment["probes"].size() * 4);
    CHECK(maps.median() <= 1e-4);
    CHECK(maps.largest() <= (relevance ? 1e-2 : 1e-4));
  }
}

void check_scores(const json& results, const json& want, const json& experiment) {
  REQUIRE(results["rows"].size() == want["rows"].size());
  CHECK(want["rows"].size() ==
        experiment["evaluations"].size() * experiment["probes"].size() * experiment["attributions"].size());
  for (size_t i = 0; i < want["rows"].size(); ++i) {
    const json &row = results["rows"][i], &other = want["rows"][i];
    CAPTURE(other.dump());
    CHECK(row["method"] == other["method"]);
    CHECK(row["records"] == other["records"]);
    CHECK(row["mean"].get<double>() == doctest::Approx(other["mean"].get<double>()).epsilon(1e-3));
  }
  for (size_t i = 0; i < want["probes"].size(); ++i) {
    for (const char* score : {"top1", "top5"}) CHECK(results["probes"][i][score] == want["probes"][i][score]);
  }
}

// The program's run on CUDA; nothing where there is no GPU.
std::optional<json> run_on_cuda(const json& experiment, const fs::path& folder, const fs::path& output) {
  setenv("HP_CUDA_HOST_GUARD", "1", 1);  // the program must not look into device memory
  const Ran ran = hp_run(folder, experiment, {"--device", "cuda", "--output", output.string()});
  unsetenv("HP_CUDA_HOST_GUARD");
  if (contains(ran.errors, "[cuda] no GPU can be used")) {
    MESSAGE("skipped: " << ran.complaint());
    return std::nullopt;
  }
  REQUIRE_MESSAGE(ran.code == 0, ran.errors);
  json results = results_of(output);
  const std::string device = results["facts"]["device"];
  CHECK_MESSAGE((device.starts_with("cuda, ") && device.ends_with(", " + experiment.value("math", "fp32"))), device);
  return results;
}

void check_run(const json& experiment, int64_t test_images, const fs::path& folder) {
  fs::create_directories(folder);
  const fs::path cpu = folder / "cpu", cuda = folder / "cuda";
  const std::optional<json> results = run_on_cuda(experiment, folder, cuda);
  if (!results) return;
  CHECK(run_here(experiment, cpu) == Outcome::complete);
  const json want = results_of(cpu);
  check_probes(cpu, cuda, want, test_images);
  check_maps(cpu, cuda, experiment);
  check_scores(*results, want, experiment);
}

}  // namespace

TEST_CASE("the whole program on CUDA: the trained ResNet-20 on photographs") {
  const fs::path source = shared_folder() / "data/checkpoints/resnet20-12fca82f.th",
                 images = shared_folder() / "data/cifar10-jpeg";
  if (!fs::exists(source) || !fs::exists(images)) {
    MESSAGE("skipped: " << source.string() << " or cifar10-jpeg is not here");
    return;
  }
  const TemporaryFolder folder;
  const Checkpoint checkpoint = read_checkpoint(source);
  save_safetensors(folder / "weights.safetensors", convert(checkpoint, plan_conversion(checkpoint, {}), source));
  json experiment = whole_experiment(folder.path());
  experiment["data"]["root"] = images.string();
  check_run(experiment, 40, folder.path());
}

TEST_CASE("the whole program on CUDA: a vision transformer with every method, and a B-cos one") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data", 6, 3);
  json experiment = vit_experiment(folder.path());
  // Slow enough that training does not make rounding grow.
  experiment["training"]["epochs"] = 3;
  for (json& probe : experiment["probes"]) probe["learning_rate"] = 0.01;
  convert_golden("timm.safetensors", "vit_ti_8_w24_d2_h3_r32", folder / "weights.safetensors");
  experiment["output"] = {{"gallery", 1}};
  check_run(experiment, 18, folder / "vit");
  // Maps of a B-cos probe may cancel to a thousandth of their terms: two trainings' roundings would be all that is
  // left.
  for (json& probe : experiment["probes"]) probe["learning_rate"] = 1e-4;
  convert_golden("bcos_simple_vit.pth", "bcos_simple_vit_ti_w24_d2_h3_p8", folder / "weights.safetensors");
  experiment["attributions"] =
      json::parse(R"([{"method": "bcos"}, {"method": "ixg"}, {"method": "gradcam"}, {"method": "chefer"}])");
  check_run(experiment, 18, folder / "bcos");
}

TEST_CASE("the whole program on CUDA: a math mode has features of its own, close to those of float32") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data", 3, 2);
  write_weights(folder / "weights.safetensors");
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = experiment["evaluations"] = json::array();
  const auto run = [&](const std::string& math, const std::string& name) -> std::optional<Tensor> {
    fs::remove(folder / name / "run.log");
    experiment["math"] = math;
    if (!run_on_cuda(experiment, folder.path(), folder / name)) return std::nullopt;
    return cached_features(folder / name, 6 * 2);
  };
  const std::optional<Tensor> exact = run("fp32", "fp32");
  if (!exact) return;
  const double tf32 = relative_error(*run("tf32", "tf32"), *exact), bf16 = relative_error(*run("bf16", "bf16"), *exact);
  MESSAGE("tf32 ", tf32, ", bf16 ", bf16);
  CHECK(tf32 > 1e-5);
  CHECK(tf32 < 2e-3);
  CHECK(bf16 > 3 * tf32);
  CHECK(bf16 < 2e-2);
  run("fp32", "fp32");
  CHECK(contains(read_file(folder / "fp32/run.log"), "images from the cache"));
  run("tf32", "fp32");
  CHECK_FALSE(contains(read_file(folder / "fp32/run.log"), "images from the cache"));
}
