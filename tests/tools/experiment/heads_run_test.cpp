// Experiments with MLP and B-cos heads, and the softmax shift, from their file to their results.
#include <doctest/doctest.h>

#include <cmath>
#include <pugixml.hpp>
#include <set>

#include "probes/probe.h"
#include "runtime/safetensors.h"
#include "tests/places.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/checkpoints/conversion.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;

namespace {

json heads_experiment(const std::filesystem::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["probes"] = json::parse(R"([
    {"name": "linear-ce"},
    {"name": "mlp3-bce", "head": "mlp", "hidden": 12, "loss": "bce", "learning_rate": 0.5},
    {"name": "bcos-mlp3-bce", "head": "bcos-mlp", "hidden": 12, "loss": "bce", "learning_rate": 0.5},
    {"name": "bcos-linear", "head": "bcos-linear", "loss": "uo_bce", "learning_rate": 0.5}])");
  experiment["attributions"] = json::parse(
      R"([{"method": "ixg"}, {"method": "intgrad", "options": {"nodes": 4}}, {"method": "gradcam"}, {"method": "lrp"}])");
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0}])");
  experiment["output"] = {{"gallery", 1}, {"raw_maps", false}};
  return experiment;
}

}  // namespace

TEST_CASE("run: MLP and B-cos heads train, are explained by every method, and are read again") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const json experiment = heads_experiment(folder.path());
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  const json results = results_of(folder / "out");
  CHECK(results["probes"][1]["head"] == "mlp, 3 layers");
  CHECK(results["probes"][3]["head"] == "bcos-linear");
  for (const json& probe : results["probes"]) {
    CAPTURE(probe["name"].get<std::string>());
    CHECK(probe["training_loss"].back() < probe["training_loss"].front());
  }
  CHECK(results["rows"].size() == 4 * 4);
  for (const json& row : results["rows"]) CHECK(row["mean"].is_number());
  const Probe probe = Probe::load(folder / "out/probes/bcos-mlp3-bce.safetensors");
  CHECK(probe.spec().layers == 3);
  CHECK(probe.spec().hidden == 12);
  CHECK(probe.spec().logit_constant == doctest::Approx(-std::log(synthetic_classes - 1.0)));
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);  // from the files
  CHECK(results_of(folder / "out") == results);
}

TEST_CASE("run: a B-cos backbone from its checkpoint, with trained, given and zero-shot probes, and its own maps") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data");
  const auto source = source_folder() / "tests/golden/resnets/bcos_cifar_resnet20.pth";
  const Checkpoint checkpoint = read_checkpoint(source);
  Parameters weights = convert(checkpoint, plan_conversion(checkpoint, {}), source);
  save_safetensors(folder / "weights.safetensors", weights);
  // The first six of its ten classes as a probe of their own, and one vector a class as text embeddings would be.
  const int64_t channels = weights.at("head.linear.weight").shape()[1];
  Parameters rows, texts;
  rows.set("head.fc0.linear.weight", weights.at("head.linear.weight").rows(0, 6).reshaped({6, channels, 1, 1}));
  texts.set("head.weight", weights.at("head.linear.weight").rows(0, 6).reshaped({6, channels, 1, 1}));
  const std::vector<std::string> turned{"class5", "class4", "class3", "class2", "class1", "class0"};
  Probe::given({"g", HeadKind::bcos_linear}, channels, numbered_classes(6), rows).save(folder / "rows.safetensors");
  Probe::given({"z", HeadKind::zero_shot, LossKind::ce, false}, channels, turned, texts)
      .save(folder / "texts.safetensors");
  json experiment = grid_experiment(folder.path());
  experiment["probes"] =
      json::array({{{"name", "trained"}, {"head", "bcos-linear"}, {"loss", "bce"}, {"learning_rate", 1}},
                   {{"name", "given"}, {"head", "converted"}, {"file", (folder / "rows.safetensors").string()}},
                   {{"name", "texts"}, {"head", "zero-shot"}, {"file", (folder / "texts.safetensors").string()}}});
  experiment["attributions"] = json::parse(R"([{"method": "bcos"}, {"method": "ixg"}, {"method": "gradcam"}])");
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0}])");
  experiment["output"] = {{"gallery", 1}, {"raw_maps", false}};
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  const json results = results_of(folder / "out");
  CHECK(results["probes"][0]["training_loss"].back() < results["probes"][0]["training_loss"].front());
  CHECK(results["rows"].size() == 3 * 3);
  for (const json& row : results["rows"]) CHECK(row["mean"].is_number());
  const Probe texts_again = Probe::load(folder / "out/probes/texts.safetensors");
  CHECK_FALSE(texts_again.trainable());
  CHECK(texts_again.classes().front() == "class0");
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);  // from the files
  CHECK(results_of(folder / "out") == results);

  const auto refusal = [&](const char* where, const json& value) {
    json changed = experiment;
    changed[json::json_pointer(where)] = value;
    return error_of([&] { run_here(changed, folder / "other"); });
  };
  CHECK(contains(refusal("/probes/0/file", "x"), "/probes/0/file: not used by head bcos-linear"));
  CHECK(contains(refusal("/probes/2/file", ""), "/probes/2/file: missing"));
  CHECK(contains(refusal("/probes/2/file", (folder / "absent").string()), "absent"));
  CHECK(contains(refusal("/probes/1/file", ""), "does not fit; got [10, 32]; expected 6 classes"));
}

TEST_CASE("run: what does not fit a head or a backbone is refused with the place") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const auto refusal = [&](const char* where, const json& value) {
    json experiment = heads_experiment(folder.path());
    experiment[json::json_pointer(where)] = value;
    return error_of([&] { run_here(experiment, folder / "out"); });
  };
  CHECK(contains(refusal("/features", {{"form", "pooled"}}), "/features/form: does not fit probe mlp3-bce"));
  CHECK(contains(refusal("/probes/1/layers", 1), "layers do not fit head mlp; got 1"));
  CHECK(contains(refusal("/probes/0/layers", 3), "layers do not fit head linear; got 3"));
  const std::string bcos = refusal("/attributions/0/method", "bcos");
  CHECK(contains(bcos, "/attributions/0/method: [bcos] the backbone is no B-cos network"));
  CHECK(contains(bcos, "ixg, gradient, guided_backprop, intgrad, gradcam and lrp"));
  CHECK(contains(refusal("/shift", {{"probe", "mlp3-bce"}}), "/shift/probe: not linear; got mlp3-bce"));
  CHECK(contains(refusal("/shift", {{"probe", "linear"}}), "/shift/probe: no such probe; got linear"));
  CHECK(contains(refusal("/shift", {{"probe", "linear-ce"}, {"scales", {1, 1}}}), "/shift/scales: out of range"));
}

TEST_CASE("run: a softmax shift changes no probability of the softmax, and the maps") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["evaluations"] = json::array();
  experiment["attributions"] = json::array();
  experiment["shift"] = {{"probe", "linear-ce"}, {"direction", "random"}, {"scales", {2, 0, -2}}, {"cells", 2},
                         {"grids", 2},           {"confidence", 0}};
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  const json shift = results_of(folder / "out")["shift"];
  CHECK(shift["probe"] == "linear-ce");
  REQUIRE(shift["points"].size() == 3);
  const json& unshifted = shift["points"][1];
  CHECK(unshifted["softmax_change"] == 0);
  for (const size_t i : {0, 2}) {
    const json& point = shift["points"][i];
    CHECK(point["softmax_change"].get<double>() < 1e-5);
    CHECK(std::abs(point["ce"].get<double>() - unshifted["ce"].get<double>()) < 1e-4 * unshifted["ce"].get<double>());
    CHECK(point["float32_softmax_change"].get<double>() < 1e-3);
    CHECK(point["top1"] == unshifted["top1"]);
    CHECK(point["sigmoid_change"].get<double>() > 0.1);
    CHECK(std::abs(point["bce"].get<double>() - unshifted["bce"].get<double>()) > 0.01);
  }
  REQUIRE(shift["rows"].size() == 3 * 3);
  for (const char* method : {"ixg", "gradcam", "lrp"}) {
    std::set<double> means;
    for (const json& row : shift["rows"]) {
      if (row["method"] == method) means.insert(row["mean"].get<double>());
    }
    CHECK_MESSAGE(means.size() == 3, method);
  }
  REQUIRE(shift["gallery"].size() == 1);
  for (const json& map : shift["gallery"][0]["maps"])
    CHECK(std::filesystem::exists(folder / "out" / map["picture"].get<std::string>()));
  const std::string csv = read_file(folder / "out/results.csv");
  CHECK(contains(csv, "shift,ce_loss,,linear-ce +2,"));
  CHECK(contains(csv, "shift,gridpg,lrp,linear-ce -2,"));
  const std::string page = read_file(folder / "out/report.html");
  CHECK(contains(page, "Softmax shift"));
  pugi::xml_document document;
  CHECK(document.load_string(page.c_str(), pugi::parse_full));
}

TEST_CASE("run: the softmax shift keeps its promise in every direction") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["evaluations"] = experiment["attributions"] = json::array();
  for (const char* direction : {"random", "minus_mean_weight", "mean_feature"}) {
    CAPTURE(direction);
    experiment["shift"] = {
        {"probe", "linear-ce"}, {"direction", direction}, {"scales", {-2, -1, 0, 1, 2}}, {"cells", 2},
        {"grids", 1},           {"confidence", 0}};
    CHECK(run_here(experiment, folder / "out") == Outcome::complete);
    const json points = results_of(folder / "out")["shift"]["points"];
    const double ce = points[2]["ce"], bce = points[2]["bce"];
    for (const size_t i : {0, 1, 3, 4}) {
      CHECK(points[i]["softmax_change"].get<double>() < 1e-5);
      CHECK(std::abs(points[i]["ce"].get<double>() - ce) < 1e-4 * ce);
      CHECK(points[i]["top1"] == points[2]["top1"]);
      CHECK(std::abs(points[i]["bce"].get<double>() - bce) > 0.01);
      MESSAGE(direction, " ", points[i]["scale"], ": softmax in float32 moves by ",
              points[i]["float32_softmax_change"]);
    }
  }
}
