// What goes wrong with files, data and settings: one line that says what to do, exit code 1 (2 for bad usage), and
// nothing half-written.
#include <doctest/doctest.h>

#include <limits>

#include "runtime/safetensors.h"
#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Inputs that are right, and an experiment on them for each test to break.
struct Bench {
  TemporaryFolder folder;
  json experiment;

  Bench() {
    write_image_folder(folder / "data", 6, 3);
    write_weights(weights());
    experiment = grid_experiment(folder.path());
    experiment["training"]["epochs"] = 5;
    experiment["attributions"] = json::parse(R"([{"method": "gradcam"}])");
    experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0}])");
  }

  fs::path weights() const { return folder / "weights.safetensors"; }

  // In this process: the error's text.
  std::string complaint() const {
    const std::string text = error_of([&] { run_here(experiment, folder / "out"); });
    CHECK_MESSAGE(text.find('\n') == std::string::npos, text);
    return text;
  }

  // Through the program; nothing may be written before work starts.
  std::string refusal() const {
    const Ran ran = hp_run(folder.path(), experiment);
    CHECK(ran.code == 1);
    CHECK(ran.errors.starts_with("hp-run: ["));
    CHECK_MESSAGE(ran.errors.find('\n') == ran.errors.size() - 1, ran.errors);
    CHECK(ran.output.empty());
    CHECK_FALSE(fs::exists(folder / "out"));
    // A plan of something that cannot be done is no plan.
    CHECK(hp_run(folder.path(), experiment, {"--dry-run"}).errors == ran.errors);
    CHECK(complaint() + "\n" == ran.errors.substr(8));
    return ran.errors;
  }
};

Parameters without(const Parameters& all, const std::string& name) {
  Parameters some;
  some.metadata = all.metadata;
  for (const std::string& key : all.names()) {
    if (key != name) some.set(key, all.at(key));
  }
  return some;
}

bool says(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    if (!contains(text, part)) {
      MESSAGE(text, " lacks ", part);
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("bad input: usage") {
  const TemporaryFolder folder;
  write_file(folder / "e.json", "{}");
  const std::string file = (folder / "e.json").string();
  const Ran help = hp_run(folder.path(), std::vector<std::string>{"--help"});
  CHECK(help.code == 0);
  for (const char* option : {"--set", "--output", "--device", "--threads", "--dry-run", "Exit status"})
    CHECK_MESSAGE(contains(help.output, option), option);
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"--frobnicate", file},
                                                    {file, "another"},
                                                    {file, "--threads", "-1"},
                                                    {file, "--threads", "many"},
                                                    {(folder / "absent.json").string()},
                                                    {folder.path().string()},
                                                    {file, "--set"}}) {
    const Ran ran = hp_run(folder.path(), arguments);
    CHECK(ran.code == 2);
    CHECK_FALSE(ran.errors.empty());
  }
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{file},
                                                    {file, "--set", "seed"},
                                                    {file, "--set", "seed.x.y=1", "--set", "seed=1"},
                                                    {file, "--device", "tpu"}}) {
    const Ran ran = hp_run(folder.path(), arguments);
    CHECK(ran.code == 1);
    CHECK(ran.errors.starts_with("hp-run: [experiment] "));
    CHECK(ran.errors.find('\n') == ran.errors.size() - 1);
  }
  for (const char* text :
       {"", "[]", "null", "3", "\"text\"", "{\"name\": \"x\",}", "{\"seed\": 1, \"seed\": 2}", "\x89PNG\r\n"}) {
    CAPTURE(text);
    write_file(folder / "e.json", text);
    for (const std::vector<std::string>& more :
         {std::vector<std::string>{file}, {file, "--threads", "2"}, {file, "--device", "cpu"}}) {
      const Ran ran = hp_run(folder.path(), more);
      CHECK(ran.code == 1);
      CHECK_MESSAGE(ran.errors.starts_with("hp-run: [experiment] "), ran.errors);
      CHECK_MESSAGE(ran.errors.find('\n') == ran.errors.size() - 1, ran.errors);
    }
  }
}

TEST_CASE("bad input: weights files") {
  Bench bench;
  const std::string bytes = read_file(bench.weights());
  const Parameters good = load_safetensors(bench.weights());
  SUBCASE("missing") {
    fs::remove(bench.weights());
    CHECK(says(bench.refusal(), {"weights.safetensors", "No such file"}));
  }
  SUBCASE("a folder") {
    bench.experiment["backbone"]["weights"] = bench.folder.path().string();
    CHECK(says(bench.refusal(), {bench.folder.path().c_str()}));
  }
  SUBCASE("truncated") {
    for (const size_t size : {size_t{0}, size_t{5}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
      write_file(bench.weights(), bytes.substr(0, size));
      CHECK(says(bench.complaint(), {"weights.safetensors"}));
    }
    CHECK(says(bench.refusal(), {"weights.safetensors"}));
  }
  SUBCASE("NaN and infinity") {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Parameters broken = load_safetensors(bench.weights());
      broken.at("layer2.1.conv2.weight").floats()[17] = bad;
      save_safetensors(bench.weights(), broken);
      CHECK(says(bench.refusal(), {"layer2.1.conv2.weight"}));
      write_file(bench.weights(), bytes);
    }
  }
  SUBCASE("a missing tensor") {
    save_safetensors(bench.weights(), without(good, "layer2.1.conv2.weight"));
    CHECK(says(bench.refusal(), {"layer2.1.conv2.weight"}));
    save_safetensors(bench.weights(), without(good, "layer3.0.bn1.running_var"));
    CHECK(says(bench.refusal(), {"layer3.0.bn1.running_var"}));
  }
  SUBCASE("a tensor of another shape") {
    Parameters broken = load_safetensors(bench.weights());
    broken.set("layer2.1.conv2.weight", good.at("layer2.1.conv2.weight").reshaped({32, 32 * 9}));
    save_safetensors(bench.weights(), broken);
    CHECK(says(bench.refusal(), {"layer2.1.conv2.weight"}));
    broken = load_safetensors(bench.weights());
    broken.set("layer2.1.bn2.bias", Tensor::host({3}, std::vector<float>{1, 2, 3}));
    broken.set("layer2.1.conv2.weight", good.at("layer2.1.conv2.weight"));
    save_safetensors(bench.weights(), broken);
    CHECK(says(bench.refusal(), {"layer2.1.bn2.bias"}));
  }
  SUBCASE("no metadata") {
    for (const char* key : {"architecture", "preprocessing"}) {
      Parameters bare = load_safetensors(bench.weights());
      bare.metadata.erase(key);
      save_safetensors(bench.weights(), bare);
      CHECK(says(bench.refusal(), {"weights.safetensors says nothing of its", key, "convert"}));
      write_file(bench.weights(), bytes);
    }
  }
  SUBCASE("hostile metadata") {
    for (const char* text :
         {"", "{", "[]", "3", "{}", R"({"mean": [0.5], "std": [0.2]})", R"({"mean": [0, 0, 0], "std": [0, 0, 0]})",
          R"({"mean": [0, 0, 0], "std": [1, 1, -1]})", R"({"mean": "x", "std": "y"})",
          R"({"mean": [1e999, 0, 0], "std": [1, 1, 1]})",
          R"({"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "resize": 99999999, "crop": 99999999})",
          R"({"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "resize": 0, "crop": -3})"}) {
      CAPTURE(text);
      Parameters odd = load_safetensors(bench.weights());
      odd.metadata["preprocessing"] = text;
      save_safetensors(bench.weights(), odd);
      CHECK_FALSE(bench.complaint().empty());
      write_file(bench.weights(), bytes);
    }
    Parameters odd = load_safetensors(bench.weights());
    odd.metadata["architecture"] = "cifar_resnet21";
    save_safetensors(bench.weights(), odd);
    CHECK(says(bench.refusal(), {"cifar_resnet21", "cifar_resnet20"}));
  }
}

TEST_CASE("bad input: a converted classifier with other classes, or none") {
  Bench bench;
  bench.experiment["probes"][1] = json::parse(R"({"name": "own", "head": "converted"})");
  for (const char* split : {"train", "test"}) fs::remove_all(bench.folder / "data" / split / "class5");
  CHECK(says(bench.refusal(), {"'own'", "[6, 64]", "expected 5 classes and 64 channels"}));
  save_safetensors(bench.weights(), without(load_safetensors(bench.weights()), "head.weight"));
  CHECK(says(bench.refusal(), {"'own'", "no 'head.weight'"}));
}

TEST_CASE("bad input: data") {
  Bench bench;
  SUBCASE("no such folder") {
    bench.experiment["data"]["root"] = (bench.folder / "nowhere").string();
    CHECK(says(bench.refusal(), {"nowhere", "train"}));
    bench.experiment["data"]["root"] = (bench.folder / "data").string();
    bench.experiment["data"]["test"] = "../data";
    CHECK(bench.complaint() != "");
    bench.experiment["data"]["test"] = "validation";
    CHECK(says(bench.refusal(), {"data/validation"}));
  }
  SUBCASE("other classes in the test split") {
    fs::rename(bench.folder / "data/test/class3", bench.folder / "data/test/zebra");
    CHECK(says(bench.refusal(), {"test split", "class3"}));
    fs::remove_all(bench.folder / "data/test/zebra");
    CHECK(says(bench.refusal(), {"test split", "5 classes; expected 6"}));
  }
  SUBCASE("other classes than the experiment says") {
    bench.experiment["data"]["classes"] = {"class0", "class1"};
    CHECK(says(bench.refusal(), {"6 classes; expected 2"}));
  }
  SUBCASE("an empty class") {
    fs::remove_all(bench.folder / "data/train/class2");
    fs::create_directories(bench.folder / "data/train/class2");
    CHECK(says(bench.refusal(), {"class2", "no images"}));
  }
  SUBCASE("pictures of another size") {
    fs::remove_all(bench.folder / "data/test/class2");
    fs::create_directories(bench.folder / "data/test/class2");
    for (int i = 0; i < 3; ++i)
      write_png(bench.folder / fmt::format("data/test/class2/{}.png", i), striped_picture(2, i, 40));
    CHECK(says(bench.complaint(), {"40"}));
  }
  SUBCASE("no picture can be read") {
    for (const auto& entry : fs::recursive_directory_iterator(bench.folder / "data"))
      if (entry.is_regular_file()) write_file(entry.path(), "no picture");
    CHECK(says(bench.complaint(), {"read"}));
  }
}

TEST_CASE("bad input: unreadable pictures are named, counted and skipped, and too many stop the run") {
  Bench bench;
  fs::remove_all(bench.folder / "data");
  write_image_folder(bench.folder / "data", 20, 6);
  const std::string bad = "class4/003.png";
  write_file(bench.folder / "data/train" / bad, "");
  for (const int batch : {16, 1}) {
    CAPTURE(batch);
    bench.experiment["data"]["batch_size"] = batch;
    const fs::path output = bench.folder / fmt::format("out{}", batch);
    CHECK(run_here(bench.experiment, output) == Outcome::complete);
    CHECK(results_of(output)["notes"][0] == "1 unreadable train image(s) skipped: " + bad);
    CHECK(contains(read_file(output / "run.log"), "warning: skipped " + bad + ": "));
  }
  // The second run knows it from the cache.
  CHECK(run_here(bench.experiment, bench.folder / "out16") == Outcome::complete);
  CHECK(results_of(bench.folder / "out16")["notes"][0] == "1 unreadable train image(s) skipped: " + bad);

  write_file(bench.folder / "data/train/class1/001.png", "no picture");
  const Ran ran = hp_run(bench.folder.path(), bench.experiment);
  CHECK(ran.code == 1);
  CHECK(says(ran.complaint(), {"hp-run: [", "2 of 120", "unreadable", "1 %", "class"}));
  CHECK_FALSE(fs::exists(bench.folder / "out/probes"));
  // It goes on where it stopped once the pictures are there.
  write_png(bench.folder / "data/train/class1/001.png", striped_picture(1, 1));
  write_png(bench.folder / "data/train" / bad, striped_picture(4, 3));
  CHECK(hp_run(bench.folder.path(), bench.experiment).code == 0);
}

TEST_CASE("bad input: a picture that vanishes between features and maps") {
  Bench bench;
  CHECK(run_here(bench.experiment, bench.folder / "out") == Outcome::complete);
  for (const auto& entry : fs::recursive_directory_iterator(bench.folder / "data/test")) {
    if (!entry.is_regular_file()) continue;
    const auto written = fs::last_write_time(entry.path());
    write_file(entry.path(), std::string(fs::file_size(entry.path()), 'x'));
    fs::last_write_time(entry.path(), written);
  }
  fs::remove_all(bench.folder / "out/scores");  // else nobody looks at them again
  CHECK(says(bench.complaint(), {"unreadable"}));
}

TEST_CASE("bad input: evaluations that do not fit the data") {
  Bench bench;
  json& evaluations = bench.experiment["evaluations"];
  SUBCASE("epg without boxes") {
    evaluations = json::parse(R"([{"metric": "epg"}])");
    CHECK(says(bench.refusal(), {"evaluation epg needs boxes", "voc"}));
  }
  SUBCASE("more cells than classes") {
    evaluations[0]["cells"] = 3;
    CHECK(says(bench.refusal(), {"evaluation gridpg needs a class a cell", "9 cells for 6 classes"}));
  }
  SUBCASE("gauss129 on small maps") {
    evaluations[0]["smoothing"] = "gauss129";
    CHECK(says(bench.refusal(), {"gauss129 needs maps with sides above 128; got 64", "box5"}));
  }
  SUBCASE("too few confident images") {
    evaluations[0]["confidence"] = 1;
    const std::string text = bench.complaint();
    CHECK(says(text, {"too few classes for 2 x 2 grids", "got ", "expected at least 4", "lower the confidence"}));
    // What was finished before is there.
    CHECK(fs::exists(bench.folder / "out/probes/linear-bce.safetensors"));
    const json results = results_of(bench.folder / "out");
    CHECK(results["complete"] == false);
    CHECK(results["probes"].size() == 2);
  }
}

TEST_CASE("bad input: grids and cross entropy on multi-label data") {
  Bench bench;
  write_voc(bench.folder / "voc", 20, 8);
  bench.experiment = voc_experiment(bench.folder.path());
  json& evaluations = bench.experiment["evaluations"];
  evaluations = json::parse(R"([{"metric": "gridpg", "cells": 2}])");
  CHECK(says(bench.refusal(), {"evaluation gridpg needs one label an image; got multi-label"}));
  evaluations = json::parse(R"([{"metric": "epg"}])");
  bench.experiment["probes"][0]["loss"] = "ce";
  CHECK(says(bench.refusal(), {"ce"}));
  bench.experiment["probes"][0]["loss"] = "bce";
  write_file(bench.folder / "voc/Annotations/0003.xml", "<annotation><object>");
  CHECK(says(bench.refusal(), {"0003.xml"}));
}

TEST_CASE("bad input: methods, options, composites and layers are checked before work starts") {
  Bench bench;
  json& attributions = bench.experiment["attributions"];
  const auto refusal = [&](const char* text) {
    attributions = json::array({json::parse(R"({"method": "ixg"})"), json::parse(text)});
    return bench.refusal();
  };
  CHECK(
      says(refusal(R"({"method": "gradcamm"})"), {"/attributions/1/method: unknown method", "did you mean gradcam?"}));
  CHECK(says(refusal(R"({"method": "intgrad", "options": {"node": 4}})"),
             {"/attributions/1/options: ", "node", "nodes"}));
  CHECK(
      says(refusal(R"({"method": "intgrad", "options": {"nodes": 0}})"), {"/attributions/1/options: ", "nodes", "0"}));
  CHECK(says(refusal(R"({"method": "intgrad", "options": {"nodes": "4"}})"), {"/attributions/1/options: ", "nodes"}));
  CHECK(says(refusal(R"({"method": "gradient", "options": {"x": 1}})"), {"/attributions/1/options: ", "x"}));
  CHECK(says(refusal(R"({"method": "gradcam", "options": {"layer": "layer9"}})"),
             {"/attributions/1/options/layer: no such node; got 'layer9'"}));
  CHECK(says(refusal(R"({"method": "gradcam", "options": {"layer": 3}})"), {"/attributions/1/options: ", "layer"}));
  CHECK(says(refusal(R"({"method": "lrp", "options": {"composite": "epsilon_pluss"}})"),
             {"/attributions/1/options: ", "epsilon_pluss", "epsilon_plus"}));
  CHECK(says(refusal(R"({"method": "lrp", "options": {"composite": {"base": "epsilon_plus", "gama": 1}}})"), {"gama"}));
  CHECK(says(refusal(R"({"method": "lrp", "options": {"composite": {"rules": [{"on": "conv2d", "rule": "z_plus"},
                                                      {"at": "layer2.*", "rule": "z_minus"}]}}})"),
             {"rules/1", "z_minus", "z_plus"}));
  CHECK(
      says(refusal(R"({"method": "lrp", "options": {"composite": {"rules": [{"at": "layer1.*", "rule": "flat"}]}}})"),
           {"/attributions/1/options/composite: relevance of rule flat at 'layer1.", "cannot go on as a multiplier"}));
  // A pattern that fits nothing is a typing error: the rule would be without effect, in silence.
  CHECK(says(refusal(R"({"method": "lrp", "options": {"composite": {"rules": [{"at": "layer2.*", "rule": "z_plus"},
                                                      {"at": "layr3.0.conv1", "rule": "flat"}]}}})"),
             {"/attributions/1/options/composite/rules/1/at: no such node; got 'layr3.0.conv1'",
              "did you mean layer3.0.conv1?"}));
  attributions =
      json::parse(R"([{"method": "lrp", "options": {"composite": {"rules": [{"at": "head", "rule": "z_plus"}]}}}])");
  CHECK(hp_run(bench.folder.path(), bench.experiment, {"--dry-run"}).code == 0);
  attributions = json::parse(R"([{"method": "gradcam"}])");
  bench.experiment["output"]["layers"] = {"layer1.0", "lawyer1.*"};
  CHECK(says(bench.refusal(), {"/output/layers: no such node; got 'lawyer1.*'"}));
}

TEST_CASE("bad input: an output folder that cannot be written to") {
  Bench bench;
  write_file(bench.folder / "file", "in the way");
  for (const char* below : {"file", "file/out", "file/deep/out"}) {
    const std::string output = (bench.folder / below).string();
    const Ran ran = hp_run(bench.folder.path(), bench.experiment, {"--output", output});
    CHECK(ran.code == 1);
    CHECK(says(ran.errors, {"hp-run: [run] output folder cannot be made", output.c_str(), "--output"}));
    CHECK(ran.errors.find('\n') == ran.errors.size() - 1);
  }
  CHECK(read_file(bench.folder / "file") == "in the way");
  // A file where a folder of the run should be.
  fs::create_directories(bench.folder / "out");
  for (const char* part : {"probes", "features", "maps", "run.log/x", "results.json/x"}) {
    CAPTURE(part);
    fs::remove_all(bench.folder / "out");
    fs::create_directories((bench.folder / "out" / part).parent_path());
    write_file(bench.folder / "out" / part, "in the way");
    const Ran ran = hp_run(bench.folder.path(), bench.experiment);
    CHECK(ran.code == 1);
    CHECK_MESSAGE(ran.complaint().starts_with("hp-run: "), ran.errors);
  }
}
