// Exported data sets, read back: the own loaders for VOC and image folders, COCO by its definition.
#include "tools/export/export.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/tools/data/fixtures.h"
#include "tools/export/coco.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<Dataset> scenes_of(Split split, bool multi_label = false) {
  return open_dataset(
      {.type = "scenes", .scenes = {.size = 48, .classes = 5, .multi_label = multi_label, .train = 30, .test = 10}},
      split);
}

json read_json(const fs::path& path) {
  const std::vector<uint8_t> bytes = read_bytes(path);
  return json::parse(bytes.begin(), bytes.end());
}

// Covered pixels, row by row, from COCO's columns of runs.
std::vector<uint8_t> decoded(const json& runs) {
  const size_t height = runs["size"][0], width = runs["size"][1];
  std::vector<uint8_t> columns, rows(height * width);
  uint8_t value = 0;
  for (const size_t count : runs["counts"]) {
    columns.insert(columns.end(), count, value);
    value = value ? 0 : 1;
  }
  REQUIRE(columns.size() == rows.size());
  for (size_t x = 0; x < width; ++x) {
    for (size_t y = 0; y < height; ++y) rows[y * width + x] = columns[x * height + y];
  }
  return rows;
}

}  // namespace

TEST_CASE("export: the VOC loader reads the same pictures, labels and boxes") {
  for (const bool multi_label : {false, true}) {
    const TemporaryFolder folder;
    const auto train = scenes_of(Split::train, multi_label), test = scenes_of(Split::test, multi_label);
    REQUIRE(export_data(*train, *test, {.folder = folder / "out"}));
    const DataConfig config{
        .type = "voc", .root = folder / "out", .train = "train", .test = "test", .classes = train->classes()};
    for (const Split split : {Split::train, Split::test}) {
      const Dataset& original = split == Split::train ? *train : *test;
      const auto read = open_dataset(config, split);
      REQUIRE(read->size() == original.size());
      for (int64_t i = 0; i < read->size(); ++i) {
        const Sample got = read->load(i), wanted = original.load(i);
        CHECK(got.image == wanted.image);
        CHECK(got.labels == wanted.labels);
        CHECK(got.boxes == wanted.boxes);
        CHECK(got.clipped_boxes == 0);
      }
    }
    CHECK(fs::exists(folder / "out/train") == !multi_label);
  }
}

TEST_CASE("export: the image folder has every picture in the folder of its class") {
  const TemporaryFolder folder;
  const auto train = scenes_of(Split::train), test = scenes_of(Split::test);
  REQUIRE(export_data(*train, *test, {.folder = folder / "out"}));
  const auto read = open_dataset({.type = "image-folder", .root = folder / "out"}, Split::train);
  CHECK(std::set<std::string>(read->classes().begin(), read->classes().end()) ==
        std::set<std::string>(train->classes().begin(), train->classes().end()));
  REQUIRE(read->size() == train->size());
  for (int64_t i = 0; i < read->size(); ++i) {
    const Sample sample = read->load(i);
    const std::string name = fs::path(sample.id).stem().string();
    REQUIRE(name.starts_with("train_"));
    const Sample wanted = train->load(std::stoi(name.substr(6)));
    CHECK(sample.image == wanted.image);
    CHECK(read->classes().at(static_cast<size_t>(sample.labels.at(0))) ==
          train->classes().at(static_cast<size_t>(wanted.labels.at(0))));
  }
}

TEST_CASE("export: COCO's boxes, areas and masks") {
  const TemporaryFolder folder;
  const auto train = scenes_of(Split::train, true), test = scenes_of(Split::test, true);
  REQUIRE(export_data(*train, *test, {.folder = folder / "out"}));
  const json coco = read_json(folder / "out/annotations/instances_test.json");
  REQUIRE(coco["images"].size() == 10);
  CHECK(coco["categories"][2] == json{{"id", 3}, {"name", test->classes()[2]}, {"supercategory", "object"}});
  size_t next = 0;
  for (int64_t i = 0; i < test->size(); ++i) {
    const Sample sample = test->load(i);
    const json& image = coco["images"][static_cast<size_t>(i)];
    CHECK(image["file_name"] == fmt::format("test_{:06}.png", i));
    CHECK(fs::exists(folder / "out/JPEGImages" / image["file_name"].get<std::string>()));
    for (size_t k = 0; k < sample.boxes.size(); ++k) {
      const json& annotation = coco["annotations"].at(next++);
      const Box& box = sample.boxes[k];
      CHECK(annotation["id"] == next);
      CHECK(annotation["image_id"] == image["id"]);
      CHECK(annotation["category_id"] == box.category + 1);
      CHECK(annotation["bbox"] == json{box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0});
      CHECK(decoded(annotation["segmentation"]) == sample.masks[k].covered);
      CHECK(annotation["area"] == std::count(sample.masks[k].covered.begin(), sample.masks[k].covered.end(), 1));
    }
  }
  CHECK(next == coco["annotations"].size());
}

TEST_CASE("export: runs go by columns and begin with what is not covered") {
  const Mask mask{.height = 2, .width = 3, .covered = {1, 0, 0, 1, 1, 0}};
  CHECK(run_lengths(mask) == json{{"size", {2, 3}}, {"counts", {0, 2, 1, 1, 2}}});
  CHECK(run_lengths({.height = 1, .width = 2, .covered = {0, 0}})["counts"] == json{2});
}

TEST_CASE("export: all of it or nothing") {
  const TemporaryFolder folder;
  const auto train = scenes_of(Split::train), test = scenes_of(Split::test);
  std::atomic<bool> cancelled = false;
  int64_t last = 0;
  const auto stop = [&](const std::string& split, int64_t done, int64_t total) {
    CHECK(total == (split == "train" ? 30 : 10));
    last = done;
    if (split == "test" && done == 5) cancelled = true;
  };
  CHECK(!export_data(*train, *test, {.folder = folder / "out", .cancelled = &cancelled, .progress = stop}));
  CHECK(last == 5);
  CHECK(fs::is_empty(folder.path()));

  // What a killed export left behind is replaced.
  write_text(folder / "out.partial/JPEGImages/old.png", "old");
  CHECK(export_data(*train, *test, {.folder = folder / "out"}));
  CHECK(!fs::exists(folder / "out.partial"));
  CHECK(!fs::exists(folder / "out/JPEGImages/old.png"));

  // A folder with files is left alone.
  const std::string refused = error_of([&] { export_data(*train, *test, {.folder = folder / "out"}); });
  CHECK(contains(refused, "is there already"));
  write_text(folder / "file", "text");
  CHECK(contains(error_of([&] { export_data(*train, *test, {.folder = folder / "file"}); }), "is there already"));
  CHECK(contains(error_of([&] { export_data(*train, *test, {.folder = folder / "file/below"}); }), "[export]"));
  CHECK(read_bytes(folder / "file").size() == 4);
}
