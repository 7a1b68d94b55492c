// Whole experiments on synthetic data: what they write, and that the same experiment gives the same results.
#include "tools/experiment/run.h"

#include <doctest/doctest.h>

#include <pugixml.hpp>
#include <set>
#include <sstream>

#include "models/backbone.h"
#include "probes/probe.h"
#include "runtime/npy.h"
#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/data/image.h"
#include "tools/experiment/schema.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::vector<std::vector<std::string>> csv(const fs::path& file) {
  std::istringstream text(read_file(file));
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    std::istringstream cells(line);
    rows.emplace_back();
    for (std::string cell; std::getline(cells, cell, ',');) rows.back().push_back(cell);
  }
  return rows;
}

std::set<std::string> files_below(const fs::path& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.insert(entry.path().lexically_relative(folder).string());
  return files;
}

// Files of a folder with their bytes, but for what tells the time.
std::map<std::string, std::string> bytes_below(const fs::path& folder) {
  std::map<std::string, std::string> bytes;
  for (const std::string& file : files_below(folder)) {
    if (file != "run.log" && file != "results.json" && file != "report.html") bytes[file] = read_file(folder / file);
  }
  return bytes;
}

const json& row_of(const json& results, const std::string& evaluation, const std::string& method,
                   const std::string& probe) {
  for (const json& row : results["rows"])
    if (row["evaluation"] == evaluation && row["method"] == method && row["probe"] == probe) return row;
  FAIL("no row for ", evaluation, " ", method, " ", probe);
  return results;
}

void check_png(const fs::path& file, int width, int height) {
  CAPTURE(file.string());
  const Image image = decode_image(file);
  CHECK(image.width == width);
  CHECK(image.height == height);
}

// Records of records.csv average to the rows of results.json.
void check_records(const fs::path& output, const json& results) {
  const auto records = csv(output / "records.csv");
  REQUIRE(records.size() > 1);
  CHECK(records[0] ==
        std::vector<std::string>{"evaluation", "metric", "method", "probe", "sample", "target", "cell", "value"});
  std::map<std::vector<std::string>, std::pair<double, int>> sums;
  for (size_t i = 1; i < records.size(); ++i) {
    REQUIRE(records[i].size() == 8);
    auto& [sum, count] = sums[{records[i][0], records[i][2], records[i][3]}];
    sum += std::stod(records[i][7]);
    ++count;
  }
  CHECK(sums.size() == results["rows"].size());
  for (const auto& [key, sum] : sums) {
    const json& row = row_of(results, key[0], key[1], key[2]);
    CHECK(row["records"] == sum.second);
    CHECK(row["mean"].get<double>() == doctest::Approx(sum.first / sum.second).epsilon(1e-6));
    CHECK(row["interval"][0] <= row["mean"]);
    CHECK(row["interval"][1] >= row["mean"]);
  }
  CHECK(csv(output / "results.csv").size() == results["rows"].size() + 1);
}

void check_maps(const fs::path& output, const json& results, const std::vector<std::string>& methods) {
  for (int ordinal = 0; ordinal < 2; ++ordinal) {
    const fs::path folder = output / "maps/grids2x2" / std::to_string(ordinal);
    check_png(folder / "input.png", 128, 128);
    for (const std::string& method : methods) {
      for (const char* probe : {"linear-ce", "linear-bce"}) {
        for (int target = 0; target < 4; ++target) {
          const std::string stem = fmt::format("{}.{}.{}", method, probe, target);
          check_png(folder / (stem + ".png"), 128, 128);
          const Tensor map = read_npy(folder / (stem + ".npy"));
          CHECK(map.shape() == Shape{64, 64});
          const bool layers = method != "intgrad" && method != "gradcam";
          CHECK(fs::exists(folder / "layers" / (stem + ".layer1.2.npy")) == layers);
          if (layers) {
            CHECK(read_npy(folder / "layers" / (stem + ".layer1.2.npy")).shape() == Shape{1, 64, 64, 16});
            CHECK(read_npy(folder / "layers" / (stem + ".layer3.2.conv1.npy")).shape() == Shape{1, 16, 16, 64});
          }
        }
      }
      check_png(folder / fmt::format("overview.{}.png", method), 3 * 128 + 2 * 4, 128);
    }
  }
  CHECK_FALSE(fs::exists(output / "maps/grids2x2/2"));
  CHECK(results["gallery"].size() == 2);
  for (const json& item : results["gallery"]) {
    CHECK(fs::exists(output / item["input"].get<std::string>()));
    CHECK(item["maps"].size() == 12);
    for (const json& map : item["maps"]) CHECK(fs::exists(output / map["picture"].get<std::string>()));
  }
}

}  // namespace

TEST_CASE("run: an experiment from its file to its report") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const json experiment = grid_experiment(folder.path());
  const fs::path output = folder / "out";
  CHECK(run_here(experiment, output) == Outcome::complete);
  const json results = results_of(output);

  CHECK(results["complete"] == true);
  CHECK(results["classes"].size() == 6);
  REQUIRE(results["probes"].size() == 2);
  for (const json& probe : results["probes"]) {
    CHECK(probe["top1"] >= 0.95);
    CHECK(probe["top5"] == 1.0);
    CHECK(probe["training_loss"].size() == 20);
    CHECK(probe["training_loss"][19] < probe["training_loss"][0]);
  }
  const std::vector<std::string> methods{"ixg", "gradient", "guided_backprop", "intgrad", "gradcam", "lrp"};
  CHECK(results["rows"].size() == 2 * (6 + 2 + 1));
  CHECK(results["differences"].size() == 6 + 2 + 1);
  for (const std::string& method : methods) {
    const json& row = row_of(results, "gridpg", method, "linear-bce");
    CHECK(row["records"] == 16);
    CHECK(row["samples"] == 4);
    CHECK(row["mean"] >= 0);
    CHECK(row["mean"] <= 1);
  }
  CHECK(row_of(results, "gini", "lrp", "linear-ce")["samples"] == 3);
  check_records(output, results);
  check_maps(output, results, methods);

  for (const char* name : {"linear-ce", "linear-bce"}) {
    const Probe probe = Probe::load(output / "probes" / (std::string(name) + ".safetensors"));
    CHECK(probe.spec().name == name);
    CHECK(probe.classes().size() == 6);
    CHECK(probe.provenance.at("seed") == "3");
  }
  pugi::xml_document page;
  CHECK(page.load_string(read_file(output / "report.html").c_str()));
  CHECK_FALSE(contains(read_file(output / "report.html"), "src=\"http"));
  CHECK(contains(read_file(output / "run.log"), "linear-bce: top-1"));
  for (const std::string& file : files_below(output)) CHECK_MESSAGE(file.find(".tmp") == std::string::npos, file);

  // The experiment that lies beside the results is the whole of it: another run of it, elsewhere, gives the same.
  const json resolved = parse_json(read_file(output / "experiment.json"), "experiment.json");
  CHECK(run_here(resolved, folder / "again") == Outcome::complete);
  CHECK(results_of(folder / "again") == results);
  const auto before = bytes_below(output), after = bytes_below(folder / "again");
  CHECK(before.size() == after.size());
  for (const auto& [file, bytes] : before) CHECK_MESSAGE(after.at(file) == bytes, file);
}

TEST_CASE("run: a second run takes features and probes from the first") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = json::parse(R"([{"method": "gradcam"}])");
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 4, "confidence": 0}])");
  const fs::path output = folder / "out";
  run_here(experiment, output);
  const json first = results_of(output);
  const auto probes = bytes_below(output / "probes"), features = bytes_below(output / "features");
  const auto written = fs::last_write_time(output / "probes/linear-ce.safetensors");
  fs::remove(output / "run.log");

  run_here(experiment, output);
  CHECK(json::diff(results_of(output), first).dump() == "[]");
  CHECK(bytes_below(output / "probes") == probes);
  CHECK(bytes_below(output / "features") == features);
  CHECK(fs::last_write_time(output / "probes/linear-ce.safetensors") == written);
  const std::string log = read_file(output / "run.log");
  CHECK(contains(log, "features (train): 72 images from the cache"));
  CHECK(contains(log, "features (test): 36 images from the cache"));
  CHECK(contains(log, "linear-ce: trained by an earlier run"));
  CHECK(contains(log, "linear-bce: trained by an earlier run"));

  // What was trained otherwise is trained again, and nothing else.
  experiment["probes"][1]["learning_rate"] = 0.5;
  fs::remove(output / "run.log");
  run_here(experiment, output);
  CHECK(contains(read_file(output / "run.log"), "linear-ce: trained by an earlier run"));
  CHECK_FALSE(contains(read_file(output / "run.log"), "linear-bce: trained by an earlier run"));
  CHECK(results_of(output) != first);

  // A damaged probe or feature file is made anew.
  experiment["probes"][1]["learning_rate"] = 1;
  write_file(output / "probes/linear-ce.safetensors", "damaged");
  for (const auto& [file, bytes] : features) {
    if (contains(file, "shard")) write_file(output / "features" / file, bytes.substr(0, bytes.size() / 2));
  }
  run_here(experiment, output);
  CHECK(results_of(output) == first);
  CHECK(bytes_below(output / "probes") == probes);
}

TEST_CASE("run: features belong to the pictures they were made from") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = experiment["evaluations"] = json::array();
  // Slow enough that both probes settle, whatever the last digits of the features.
  experiment["training"]["learning_rate"] = 0.01;
  experiment["probes"][1]["learning_rate"] = 0.1;
  // The same file names and sizes in both splits, with the classes of the test split turned round.
  fs::remove_all(folder / "data");
  for (int category = 0; category < synthetic_classes; ++category) {
    for (const char* split : {"train", "test"}) {
      const fs::path classes = folder / "data" / split / fmt::format("class{}", category);
      fs::create_directories(classes);
      for (int i = 0; i < 8; ++i) {
        const int shown = split == std::string("train") ? category : (category + 1) % synthetic_classes;
        const Picture picture = striped_picture(shown, i);
        const std::vector<uint8_t> png = encode_png(picture);
        std::string bytes(png.begin(), png.end());
        REQUIRE(bytes.size() < 4096);
        write_file(classes / fmt::format("{}.png", i), bytes + std::string(4096 - bytes.size(), '\0'));
      }
    }
  }
  run_here(experiment, folder / "out");
  const json first = results_of(folder / "out");
  for (const json& probe : first["probes"]) CHECK(probe["top1"] <= 0.2);

  // Pictures that change and keep their size.
  for (int category = 0; category < synthetic_classes; ++category) {
    for (int i = 0; i < 8; ++i) {
      const std::string file = fmt::format("class{}/{}.png", category, i);
      write_file(folder / "data/test" / file, read_file(folder / "data/train" / file));
    }
  }
  run_here(experiment, folder / "out");
  const json second = results_of(folder / "out");
  for (const json& probe : second["probes"]) CHECK(probe["top1"] >= 0.9);
}

TEST_CASE("run: grids of the same size by different confidences keep apart") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = json::parse(R"([{"method": "gradcam"}])");
  experiment["evaluations"] = json::parse(R"([
    {"name": "any", "metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0},
    {"name": "few", "metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0, "per_class": 1}])");
  run_here(experiment, folder / "out");
  const json results = results_of(folder / "out");
  CHECK(results["gallery"].size() == 4);
  std::set<std::string> pictures;
  for (const json& item : results["gallery"]) {
    CHECK(item["maps"].size() == 2);
    for (const json& map : item["maps"]) pictures.insert(map["picture"].get<std::string>());
  }
  CHECK(pictures.size() == 8);
  CHECK(read_file(folder / "out/maps/grids2x2/0/input.png") != read_file(folder / "out/maps/grids2x2-2/0/input.png"));
}

TEST_CASE("run: --dry-run tells the plan and writes nothing") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const auto before = files_below(folder.path());
  const Ran ran = hp_run(folder.path(), grid_experiment(folder.path()), {"--dry-run"});
  CHECK(ran.code == 0);
  CHECK(ran.errors.empty());
  for (const char* part : {"cifar_resnet20", "72 train, 36 test images, 6 classes", "2, 20 epochs",
                           "intgrad on 4 2x2 grids", "GFLOP", "on disk"})
    CHECK_MESSAGE(contains(ran.output, part), part);
  auto after = files_below(folder.path());
  for (const char* own : {"stdout", "stderr", "experiment.json"}) after.erase(own);
  CHECK(after == before);
  CHECK_FALSE(fs::exists(folder / "out"));
}

TEST_CASE("run: the program tells its results and takes overrides") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const Ran ran = hp_run(folder.path(), grid_experiment(folder.path()),
                         {"--set", "attributions=[{\"method\": \"gradcam\"}]", "--set", "training.epochs=3", "--set",
                          "evaluations=[{\"metric\": \"gridpg\", \"cells\": 2, \"grids\": 2, \"confidence\": 0}]",
                          "--threads", "2", "--device", "cpu"});
  CHECK_MESSAGE(ran.code == 0, ran.errors);
  CHECK(contains(ran.output, "linear-bce"));
  CHECK(contains(ran.output, "gradcam"));
  CHECK(contains(ran.output, (folder / "out/report.html").string()));
  const json resolved = json::parse(read_file(folder / "out/experiment.json"));
  CHECK(resolved["threads"] == 2);
  CHECK(resolved["training"]["epochs"] == 3);
  CHECK(results_of(folder / "out")["probes"][0]["training_loss"].size() == 3);
}

TEST_CASE("run: options of the kinds that have names") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["features"] = {{"form", "maps"}, {"dtype", "float16"}, {"cache", (folder / "shared-cache").string()}};
  experiment["probes"] = json::parse(R"([
    {"name": "uo", "loss": "uo_bce", "bias": false, "logit_constant": "off", "learning_rate": 1},
    {"name": "class.ifier", "head": "converted"}])");
  experiment["training"] = {{"epochs", 10}, {"batch_size", 24}, {"schedule", "s2"}, {"nesterov", true}};
  experiment["attributions"] = json::parse(R"([
    {"name": "before", "method": "gradcam", "options": {"layer": "layer3.2.conv2", "relu": true}},
    {"name": "after", "method": "gradcam", "options": {"layer": "layer3.2.bn2"}},
    {"name": "plus", "method": "lrp", "options": {"composite": {"base": "epsilon_plus", "rules": [
      {"at": "layer1.*", "rule": "alpha_beta"}, {"at": "head", "rule": "z_plus"}]}}},
    {"name": "copy", "method": "lrp", "options": {"composite": "epsilon_plus", "residual": "copy", "start": "one"}}])");
  experiment["evaluations"] = json::parse(R"([
    {"name": "e", "metric": "entropy", "on": "images", "images": 3},
    {"name": "g", "metric": "gini", "on": "images", "images": 5, "methods": ["plus", "copy"]}])");
  experiment["output"] = {{"gallery", 1}, {"raw_maps", false}};
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  const json results = results_of(folder / "out");
  CHECK(row_of(results, "e", "before", "uo")["records"] == 3);
  CHECK(row_of(results, "g", "plus", "class.ifier")["records"] == 5);
  CHECK(row_of(results, "e", "before", "uo")["mean"] != row_of(results, "e", "after", "uo")["mean"]);
  bool warned = false;
  for (const std::string note : results["notes"])
    warned = warned || contains(note, "copy on images: relevance starts at 1");
  CHECK(warned);
  CHECK(fs::exists(folder / "shared-cache"));
  CHECK_FALSE(fs::exists(folder / "out/features"));
  for (const std::string& file : files_below(folder / "out")) CHECK_FALSE(file.ends_with(".npy"));
  // The classifier that came with the weights is used as it is.
  const Tensor head = Probe::load(folder / "out/probes/class.ifier.safetensors").parameters.at("head.weight");
  const Tensor given = synthetic_weights().at("head.weight");
  CHECK(std::equal(head.floats(), head.floats() + head.count(), given.floats()));
}

TEST_CASE("run: class names that are no UTF-8") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  for (const char* split : {"train", "test"})
    fs::rename(folder / "data" / split / "class0", folder / "data" / split / "caf\xe9, \"<b>\"");
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = json::parse(R"([{"method": "gradcam"}])");
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0}])");
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  CHECK(contains(read_file(folder / "out/run.log"), "linear-ce: trained by an earlier run"));
  CHECK(results_of(folder / "out")["classes"].size() == 6);
}

TEST_CASE("run: multi-label pictures with boxes") {
  const TemporaryFolder folder;
  write_voc(folder / "voc", 90, 40);
  write_weights(folder / "weights.safetensors");
  const json experiment = voc_experiment(folder.path());
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  const json results = results_of(folder / "out");
  CHECK(results["classes"] == json{"disc", "ring", "square"});
  for (const json& probe : results["probes"]) {
    CHECK(probe["top1"].is_null());
    CHECK(probe["average_precision"].size() == 3);
    CHECK(probe["mean_average_precision"] > 0.75);  // chance is about 0.6
    CHECK(probe["training_top1"].empty());
  }
  // One record for each class that a picture shows in boxes that are not difficult.
  const auto records = csv(folder / "out/records.csv");
  std::set<std::pair<std::string, std::string>> scored;
  for (const auto& record : records)
    if (record[0] == "epg" && record[2] == "lrp" && record[3] == "linear-bce") scored.emplace(record[4], record[5]);
  size_t expected = 0;
  for (int i = 90; i < 130; ++i) {
    pugi::xml_document document;
    REQUIRE(document.load_file((folder / fmt::format("voc/Annotations/{:04}.xml", i)).c_str()));
    for (const auto& object : document.child("annotation").children("object"))
      expected += object.child("difficult").text().as_int() == 0 ? 1 : 0;
  }
  CHECK(expected > 40);
  CHECK(scored.size() == expected);
  CHECK(row_of(results, "epg", "lrp", "linear-bce")["records"] == expected);
  CHECK(row_of(results, "gini", "gradcam", "linear-uobce")["samples"] == 10);
  check_records(folder / "out", results);
  CHECK(fs::exists(folder / "out/maps/images/0/input.png"));
}
