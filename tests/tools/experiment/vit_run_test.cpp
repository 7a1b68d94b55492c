// Experiments on vision transformers, from their file to their results: every choice of features, every kind of head,
// every method.
#include <doctest/doctest.h>

#include "models/backbone.h"
#include "probes/feature_cache.h"
#include "probes/probe.h"
#include "tests/tools/experiment/synthetic.h"
#include "tests/tools/experiment/transformers.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;

namespace {

struct Bench {
  TemporaryFolder folder;
  json experiment;

  Bench(const std::string& checkpoint, const std::string& architecture) {
    write_image_folder(folder / "data", 6, 3);
    convert_golden(checkpoint, architecture, folder / "weights.safetensors");
    experiment = vit_experiment(folder.path());
  }
  json run(const std::string& output) {
    CHECK(run_here(experiment, folder / output) == Outcome::complete);
    return results_of(folder / output);
  }
  std::string refusal() {
    return error_of([&] { run_here(experiment, folder / "refused"); });
  }
};

void check_complete(const json& results, size_t probes, size_t methods) {
  REQUIRE(results["probes"].size() == probes);
  for (const json& probe : results["probes"]) {
    CAPTURE(probe["name"].get<std::string>());
    CHECK(probe["training_loss"].back() < probe["training_loss"].front());
  }
  CHECK(results["rows"].size() == probes * methods);
  for (const json& row : results["rows"]) CHECK(row["mean"].is_number());
}

}  // namespace

TEST_CASE("run: a vision transformer with every choice of features, head and method") {
  Bench bench("timm.safetensors", "vit_ti_8_w24_d2_h3_r32");
  for (const char* features : {"auto", "tokens", "cls+mean"}) {
    CAPTURE(std::string(features));
    bench.experiment["backbone"]["features"] = features;
    bench.experiment["features"]["cache"] = (bench.folder / "cache").string();
    check_complete(bench.run(features), 3, bench.experiment["attributions"].size());
  }
  // Every choice has features of its own in a common cache.
  int64_t folders = 0;
  for (const auto& entry : std::filesystem::directory_iterator(bench.folder / "cache")) folders += entry.is_directory();
  CHECK(folders == 3 * 2);
  CHECK(Probe::load(bench.folder / "cls+mean/probes/linear-ce.safetensors").channels() == 48);
  CHECK(Probe::load(bench.folder / "tokens/probes/linear-ce.safetensors").provenance.at("backbone_features") ==
        "tokens");
}

TEST_CASE("run: B-cos transformers are explained by their contributions, CLIP's by its embedding") {
  Bench bcos("bcos_simple_vit.pth", "bcos_simple_vit_ti_w24_d2_h3_p8");
  bcos.experiment["attributions"] = json::parse(
      R"([{"method": "bcos"}, {"method": "ixg"}, {"method": "gradcam"}, {"method": "chefer"}, {"method": "raw_attention"}])");
  check_complete(bcos.run("out"), 3, 5);
  bcos.experiment["backbone"]["features"] = "tokens";
  check_complete(bcos.run("tokens"), 3, 5);
  Bench clip("clip.pt", "clip_vit_b_32_w24_d2_h3_p8_r32_e12");
  check_complete(clip.run("out"), 3, clip.experiment["attributions"].size());
  CHECK(Probe::load(clip.folder / "out/probes/linear-ce.safetensors").channels() == 12);
}

TEST_CASE("run: a choice of features that a network does not have is refused with its place") {
  Bench bench("timm.safetensors", "vit_ti_8_w24_d2_h3_r32");
  bench.experiment["backbone"]["features"] = "embedding";
  CHECK(contains(bench.refusal(), "/backbone/features: [vit] no such features; got \"embedding\""));
  bench.experiment["backbone"]["features"] = "class";
  CHECK(contains(bench.refusal(), "/backbone/features"));
  bench.experiment["backbone"]["features"] = "tokens";
  bench.experiment["probes"][0] = {{"name", "own"}, {"head", "converted"}};
  CHECK(contains(bench.refusal(), "/probes/0/head: the classifier of vit_ti_8_w24_d2_h3_r32 reads the network's own"));
  Bench resnet("timm.safetensors", "vit_ti_8_w24_d2_h3_r32");
  write_weights(resnet.folder / "weights.safetensors");
  resnet.experiment["backbone"]["features"] = "cls";
  resnet.experiment["output"]["layers"] = json::array();
  CHECK(contains(resnet.refusal(), "/backbone/features: [models] cifar_resnet20 has one feature map"));
}
