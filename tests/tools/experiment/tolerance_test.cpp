// How far results depend on things that should not matter: batch sizes and how many targets are walked at once.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/evaluation.h"
#include "tests/support/small_nets.h"
#include "tests/tools/experiment/comparison.h"
#include "tests/tools/experiment/program.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/data/image.h"
#include "tools/experiment/network.h"
#include "tools/experiment/split.h"

using namespace hp;
using namespace hp::test;
using hp::testing::relative_error;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Logits of the test images, from the probes and features of a run, for all probes.
std::vector<Tensor> logits_of(const json& experiment_file, const fs::path& output) {
  const Experiment experiment = Experiment::parse(experiment_file, ".");
  SplitData test = open_split(experiment, Split::test);
  const Network network = load_network(experiment, *test.images);
  CpuKernels kernels({.threads = experiment.threads});
  FeatureExtractor extractor(network, kernels);
  std::vector<int64_t> indices(static_cast<size_t>(test.images->size()));
  std::iota(indices.begin(), indices.end(), 0);
  LoaderOptions options;
  options.batch = experiment.batch_size;
  Loader loader(*test.images, network.preprocess, indices, options);
  const Shape map = network.feature_shape();
  const Tensor all = Tensor::host({test.images->size(), map[0], map[1], map[2]});
  while (const auto batch = loader.next()) {
    const Tensor features = extractor.features(batch->images);
    std::copy_n(features.floats(), features.count(), all.rows(batch->indices.front(), test.images->size()).floats());
  }
  std::vector<Tensor> logits;
  for (const ProbeSpec& spec : experiment.probes) {
    const Probe probe = Probe::load(output / "probes" / (spec.name + ".safetensors"));
    const auto predictions = predict(probe, FeatureTensor(all), 256, kernels);
    logits.push_back(Tensor::host({predictions->rows(), predictions->classes}, predictions->logits));
  }
  return logits;
}

}  // namespace

namespace {

// The smallest experiment that goes through everything.
json small_experiment(const fs::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["training"]["epochs"] = 3;
  experiment["attributions"] = json::parse(R"([{"method": "gradcam"}, {"method": "ixg"}, {"method": "lrp"}])");
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0}])");
  return experiment;
}

}  // namespace

TEST_CASE("tolerance: ten runs with two threads give the same bits") {
  const TemporaryFolder folder;
  write_image_folder(folder / "data", 5, 2);
  write_weights(folder / "weights.safetensors");
  json experiment = small_experiment(folder.path());
  experiment["threads"] = 2;
  const auto bits = [&](const fs::path& output) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(output)) {
      const std::string name = entry.path().lexically_relative(output).string();
      if (entry.is_regular_file() && !contains(name, "run.log") && !contains(name, "results.json") &&
          !contains(name, "report.html") && !contains(name, "manifest.json"))
        files[name] = read_file(entry.path());
    }
    return files;
  };
  for (int run = 0; run < 10; ++run) run_here(experiment, folder / fmt::format("run{}", run));
  const auto first = bits(folder / "run0");
  CHECK(first.size() > 40);
  for (int run = 1; run < 10; ++run) {
    CAPTURE(run);
    const auto other = bits(folder / fmt::format("run{}", run));
    CHECK(other.size() == first.size());
    for (const auto& [name, bytes] : first) CHECK_MESSAGE((other.contains(name) && other.at(name) == bytes), name);
    CHECK(results_of(folder / fmt::format("run{}", run)) == results_of(folder / "run0"));
  }
}

TEST_CASE("tolerance: the same experiment is the same to the last bit") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = json::parse(R"([{"method": "lrp"}])");
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 2, "confidence": 0}])");
  experiment["threads"] = 2;
  run_here(experiment, folder / "one");
  run_here(experiment, folder / "two");
  experiment["data"]["workers"] = 3;  // who decodes does not matter
  run_here(experiment, folder / "three");
  experiment["seed"] = 4;
  run_here(experiment, folder / "other");
  for (const char* name : {"linear-ce", "linear-bce"}) {
    const std::string file = fmt::format("probes/{}.safetensors", name);
    CHECK(read_file(folder / "one" / file) == read_file(folder / "two" / file));
    CHECK(read_file(folder / "one" / file) == read_file(folder / "three" / file));
    CHECK(read_file(folder / "one" / file) != read_file(folder / "other" / file));
  }
  CHECK(compare_maps(folder / "one", folder / "two").largest() == 0);
  CHECK(compare_maps(folder / "one", folder / "three").largest() == 0);
  CHECK(compare_maps(folder / "one", folder / "other").median() > 1e-3);
}

namespace {

// The first `count` grids of a run, [count, height, width, 3], from the pictures that lie beside their maps.
Tensor grids_of(const fs::path& output, int64_t count, int64_t side) {
  const Tensor grids = Tensor::host({count, side, side, 3});
  for (int64_t grid = 0; grid < count; ++grid) {
    const Image image = decode_image(output / fmt::format("maps/grids2x2/{}/input.png", grid));
    const int enlarged = image.width / static_cast<int>(side);
    float* out = grids.rows(grid, grid + 1).floats();
    for (int64_t i = 0; i < side * side * 3; ++i) {
      const int64_t c = i % 3, x = i / 3 % side, y = i / 3 / side;
      out[i] = static_cast<float>(image.row(static_cast<int>(y) * enlarged)[3 * x * enlarged + c]) / 255;
    }
  }
  return grids;
}

// What every ReLU of the backbone gives for each grid, computed in batches of `batch`.
std::vector<std::vector<float>> activations_of(const Network& network, const Tensor& grids, int64_t batch,
                                               CpuKernels& kernels) {
  const Shape& shape = grids.shape();
  const Graph graph = build_backbone(network.architecture, {batch, shape[1], shape[2]}).graph;
  const Folded folded = fold_norms(graph, network.weights);
  Executor executor(folded.graph, folded.parameters, kernels, Keep::everything);
  std::vector<std::vector<float>> values(static_cast<size_t>(shape[0]));
  for (int64_t begin = 0; begin + batch <= shape[0]; begin += batch) {
    const Activations activations = executor.run(grids.rows(begin, begin + batch));
    for (int node = 0; node < folded.graph.size(); ++node) {
      if (folded.graph.node(node).kind != OpKind::relu) continue;
      for (int64_t b = 0; b < batch; ++b) {
        const Tensor one = activations.value(node).rows(b, b + 1);
        std::vector<float>& all = values[static_cast<size_t>(begin + b)];
        all.insert(all.end(), one.floats(), one.floats() + one.count());
      }
    }
  }
  return values;
}

// Units that are on in one and off in the other.
int64_t flipped(const std::vector<float>& one, const std::vector<float>& other) {
  int64_t count = 0;
  for (size_t i = 0; i < one.size(); ++i) count += (one[i] > 0) != (other[i] > 0) ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("tolerance: batch sizes and chunks of targets change next to nothing") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = grid_experiment(folder.path());
  experiment["attributions"] = json::parse(R"([{"method": "ixg"}, {"method": "gradcam"}, {"method": "lrp"}])");
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 4, "confidence": 0}])");
  experiment["output"] = {{"gallery", 4}};
  json other = experiment;
  experiment["memory"] = {{"explain_batch", 4}};
  other["data"]["batch_size"] = 5;
  other["memory"] = {{"explain_batch", 1}, {"message_bytes", 1048576}};
  run_here(experiment, folder / "one");
  run_here(other, folder / "two");

  const std::vector<Tensor> logits = logits_of(experiment, folder / "one"), others = logits_of(other, folder / "two");
  for (size_t i = 0; i < logits.size(); ++i) {
    const double error = relative_error(others[i], logits[i]);
    MESSAGE("logits: ", error);
    CHECK(error <= 1e-5);
  }
  const MapComparison maps = compare_maps(folder / "one", folder / "two");
  MESSAGE("maps: ", maps.errors.size(), ", median ", maps.median(), ", largest ", maps.largest(),
          ", above 1e-5: ", maps.apart.size());
  CHECK(maps.errors.size() == 3 * 2 * 4 * 4);
  CHECK(maps.median() <= 1e-5);
  CHECK(maps.largest() <= 1e-2);

  // A map is apart only where a unit near 0 is on in one run and off in the other.
  const Experiment parsed = Experiment::parse(experiment, ".");
  const SplitData train = open_split(parsed, Split::train);
  const Network network = load_network(parsed, *train.images);
  CpuKernels kernels({.threads = 1});
  const Tensor grids = grids_of(folder / "one", 4, 64);
  const auto together = activations_of(network, grids, 4, kernels), alone = activations_of(network, grids, 1, kernels);
  int64_t all = 0;
  for (size_t grid = 0; grid < 4; ++grid) all += flipped(together[grid], alone[grid]);
  MESSAGE("units that flipped: ", all, " of ", 4 * together[0].size());
  // Were the last bits of the input others, this would be seen.
  REQUIRE(together[0].size() > 500'000);
  for (int64_t i = 0; i < grids.count(); ++i) grids.floats()[i] *= 1.0001F;
  const int64_t moved = flipped(together[0], activations_of(network, grids, 4, kernels)[0]);
  MESSAGE("units that flip where the input changes by 1e-4: ", moved);
  CHECK(moved > 0);
  for (const fs::path& map : maps.apart) {
    const size_t grid = std::stoul(map.parent_path().filename().string());
    CHECK_MESSAGE(flipped(together[grid], alone[grid]) > 0, map.string());
  }
}

TEST_CASE("tolerance: threads and a narrower instruction set change next to nothing") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = small_experiment(folder.path());
  const auto run = [&](const char* name, const char* isa, int threads) {
    experiment["threads"] = threads;
    setenv("DNNL_MAX_CPU_ISA", isa, 1);
    const Ran ran = hp_run(folder.path(), experiment, {"--output", (folder / name).string()});
    unsetenv("DNNL_MAX_CPU_ISA");
    REQUIRE_MESSAGE(ran.code == 0, ran.errors);
  };
  run("one", "DEFAULT", 1);
  run("two", "DEFAULT", 2);
  run("avx2", "AVX2", 1);
  for (const std::string name : {"two", "avx2"}) {
    CAPTURE(name);
    const Tensor features = cached_features(folder / "one", synthetic_classes * 6),
                 others = cached_features(folder / name, synthetic_classes * 6);
    for (const std::string probe : {"linear-ce", "linear-bce"}) {
      const fs::path file = fs::path("probes") / fmt::format("{}.safetensors", probe);
      const Tensor logits = logits_from(folder / "one" / file, features);
      // The same probe on its features, and the probe that was trained on its features.
      const double error = relative_error(logits_from(folder / "one" / file, others), logits);
      const double trained = relative_error(logits_from(folder / name / file, others), logits);
      MESSAGE(probe, ": logits ", error, ", of its own probe ", trained);
      CHECK(error <= 1e-5);
      CHECK(trained <= 1e-5);
    }
    const MapComparison maps = compare_maps(folder / "one", folder / name);
    const MapComparison lrp = compare_maps(folder / "one", folder / name, "lrp");
    CHECK(maps.errors.size() == 3 * 2 * 2 * 4);
    REQUIRE(lrp.errors.size() == 2 * 2 * 4);
    MESSAGE("maps: median ", maps.median(), ", of lrp ", lrp.median(), ", largest ", maps.largest());
    CHECK(maps.median() <= 1e-5);
    CHECK(lrp.median() <= (name == "avx2" ? 1e-4 : 1e-5));
    CHECK(maps.largest() <= 1e-2);
  }
  CHECK(contains(read_file(folder / "avx2/run.log"), "avx512") == false);
}
