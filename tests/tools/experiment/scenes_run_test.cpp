// Experiments on scenes: exact boxes and masks reach the metric.
#include <doctest/doctest.h>

#include <map>
#include <sstream>

#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;

namespace {

json scenes_experiment(const std::filesystem::path& folder, const std::string& mode) {
  const bool single = mode == "single-label";
  return json::parse(fmt::format(R"({{
    "name": "scenes", "seed": 3, "threads": 1,
    "backbone": {{"weights": "{0}/weights.safetensors"}},
    "data": {{"type": "scenes", "batch_size": 16,
              "scenes": {{"size": 32, "classes": 6, "train": 60, "test": 30, "mode": "{1}"}}}},
    "probes": [{{"name": "linear", "loss": "bce"}}],
    "training": {{"epochs": 2, "batch_size": 20}},
    "attributions": [{{"method": "ixg"}}],
    "evaluations": [
      {{"metric": "epg", "smoothing": "none", "images": {2}}},
      {{"metric": "epg", "name": "epg-mask", "region": "mask", "smoothing": "none", "images": {2}}}
    ],
    "statistics": {{"resamples": 100}}, "output": {{"gallery": 1}}
  }})",
                                 folder.string(), mode, single ? 12 : 0));
}

// Values of an evaluation by image and class.
std::map<std::string, double> scores(const std::filesystem::path& records, const std::string& evaluation) {
  std::map<std::string, double> values;
  std::istringstream text(read_file(records));
  for (std::string line; std::getline(text, line);) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    if (cells.size() > 5 && cells[0] == evaluation) values[cells[4] + " " + cells[5]] = std::stod(cells.back());
  }
  return values;
}

}  // namespace

TEST_CASE("run: scenes with their boxes and masks") {
  const TemporaryFolder folder;
  write_weights(folder / "weights.safetensors");
  for (const char* mode : {"single-label", "multi-label"}) {
    CAPTURE(std::string(mode));
    const std::filesystem::path output = folder / mode;
    REQUIRE(run_here(scenes_experiment(folder.path(), mode), output) == Outcome::complete);
    const auto boxes = scores(output / "records.csv", "epg"), masks = scores(output / "records.csv", "epg-mask");
    REQUIRE(boxes.size() == masks.size());
    if (std::string_view(mode) == "single-label") {
      CHECK(boxes.size() == 12);
    } else {
      CHECK(boxes.size() > 30);  // several classes in one image
    }
    int smaller = 0;
    for (const auto& [subject, value] : boxes) {
      CHECK(masks.at(subject) <= value + 1e-6);  // a mask lies in its box
      smaller += masks.at(subject) < value;
    }
    CHECK(smaller > 10);
  }
}

TEST_CASE("hp-run: --export-data writes the pictures of an experiment, and nothing else") {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder / "files";
  const Ran exported =
      hp_run(folder.path(), scenes_experiment(folder.path(), "multi-label"), {"--export-data", out.string()});
  CHECK(exported.code == 0);
  size_t pictures = 0;
  for (const auto& file : std::filesystem::directory_iterator(out / "JPEGImages")) pictures += file.is_regular_file();
  CHECK(pictures == 90);
  CHECK(std::filesystem::exists(out / "ImageSets/Main/test.txt"));
  CHECK(json::parse(read_file(out / "annotations/instances_train.json")).at("images").size() == 60);
}

TEST_CASE("run: masks are asked for where there are none") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  write_voc(folder / "voc", 20, 10);
  json experiment = voc_experiment(folder.path());
  experiment["evaluations"][0]["region"] = "mask";
  CHECK(contains(error_of([&] { run_here(experiment, folder / "out"); }),
                 "evaluation epg needs masks; got data without any; expected scenes, or the region \"box\""));
}
