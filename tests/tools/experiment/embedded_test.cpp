// The weights that come along: what README promises of them, and that the experiments around them can be run.
#include <doctest/doctest.h>

#include "models/backbone.h"
#include "probes/digest.h"
#include "runtime/cost.h"
#include "runtime/safetensors.h"
#include "tests/places.h"
#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;

namespace {

const std::filesystem::path weights = source_folder() / "weights/scenes-resnet.safetensors";

json file_of(const std::string& experiment) {
  return json::parse(read_file(source_folder() / "experiments" / (experiment + ".json")));
}

}  // namespace

TEST_CASE("embedded weights: small, quick, and the ones that weights/README.md describes") {
  const std::string bytes = read_file(weights);
  CHECK(bytes.size() <= 2000000);
  CHECK(contains(read_file(source_folder() / "weights/README.md"), sha256_of(bytes)));
  const Parameters parameters = load_safetensors(weights);
  const std::string& architecture = parameters.metadata.at("architecture");
  CHECK(architecture == file_of("scenes-resnet")["pretrain"]["model"]);
  const double multiply_adds = forward_cost(build_backbone(architecture, {1, 64, 64}).graph).flops / 2;
  CHECK(multiply_adds > 1e6);
  CHECK(multiply_adds <= 50e6);
}

TEST_CASE("embedded weights: at least 92 % of unseen scenes are classified correctly") {
  const TemporaryFolder folder;
  json experiment = file_of("scenes-resnet");
  experiment.erase("pretrain");
  experiment["backbone"]["weights"] = weights.string();
  experiment["data"]["scenes"]["train"] = 10;
  experiment["data"]["scenes"]["test"] = 1000;
  REQUIRE(run_here(experiment, folder / "out") == Outcome::complete);
  const json results = json::parse(read_file(folder / "out/results.json"));
  CHECK(results["probes"][0]["top1"] >= 0.92);
}

TEST_CASE("embedded weights: the experiments around them are valid, on the same pictures") {
  const std::filesystem::path folder = source_folder() / "experiments";
  const Experiment trained = Experiment::parse(file_of("scenes-resnet"), folder);
  const Experiment quickstart = Experiment::parse(file_of("quickstart"), folder);
  CHECK(std::filesystem::equivalent(quickstart.weights, weights));
  CHECK(quickstart.data.scenes.str() == trained.data.scenes.str());
  Experiment::parse(file_of("quickstart-images"), folder);
}
