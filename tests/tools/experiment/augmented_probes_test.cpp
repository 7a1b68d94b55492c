// Probes that train on augmented pictures: features computed on the way, once for all of them.
#include <doctest/doctest.h>

#include <map>
#include <mutex>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/probe.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/experiment/augmented_features.h"
#include "tools/experiment/split.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json augmented_experiment(const fs::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["attributions"] = experiment["evaluations"] = json::array();
  experiment["probes"] = json::parse(R"([{"name": "linear-ce"}, {"name": "mlp2-bce", "head": "mlp", "layers": 2,
      "hidden": 8, "loss": "bce", "learning_rate": 0.2}])");
  experiment["training"] = {{"epochs", 3}, {"batch_size", 20}, {"learning_rate", 0.001}};
  experiment["training"]["augment"] = {{"crop", "padded"}, {"padding", 4}, {"flip", 0.5}};
  return experiment;
}

// How often everything ran within the training of probes.
class TrainingCounts final : public Observer {
 public:
  std::map<std::string, int> counts;
  void begin(const Activity& activity) override {
    const std::scoped_lock lock(mutex_);
    if (activity.node.empty()) ++counts[activity.phase];
  }
  void end() override {}

 private:
  std::mutex mutex_;
};

std::map<std::string, int> counts_of(const json& experiment, const fs::path& output) {
  TrainingCounts observer;
  RunOptions options;
  options.output = output;
  options.observer = &observer;
  const std::atomic<bool> cancelled = false;
  CHECK(run_experiment(Experiment::parse(experiment, "."), options, cancelled) == Outcome::complete);
  return observer.counts;
}

}  // namespace

TEST_CASE("augmented probes: rows are the backbone's features of the augmented pictures") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  const Experiment experiment = Experiment::parse(augmented_experiment(folder.path()), ".");
  const SplitData train = open_split(experiment, Split::train);
  const Network network = load_network(experiment, *train.images);
  CpuKernels kernels({.threads = 1});
  const auto inputs = [&](bool pooled, int64_t backbone_batch) {
    auto pictures = std::make_unique<ImageInputs>(
        *train.images, ImageInputOptions{network.preprocess, experiment.augmentation, 3, 20, 2, nullptr, {}});
    return AugmentedFeatures(network, std::move(pictures), pooled, backbone_batch, kernels);
  };
  AugmentedFeatures maps = inputs(false, 20), means = inputs(true, 20), parts = inputs(false, 7);
  CHECK(maps.size() == train.images->size());
  CHECK(maps.row_shape() == network.feature_shape());
  CHECK(means.row_shape() == Shape{1, 1, network.channels});
  std::vector<int64_t> order;
  for (int64_t i = 0; i < maps.size(); ++i) order.push_back(i * 5 % maps.size());
  const std::span<const int64_t> rows(order.data(), 20);
  const auto read = [&](AugmentedFeatures& from, int64_t epoch) {
    from.begin_epoch(epoch, order, 0);
    std::vector<float> values(static_cast<size_t>(from.batch_shape(20).count()));
    CHECK(from.read(rows, values.data()) == std::vector<int64_t>(rows.begin(), rows.end()));
    return values;
  };
  const std::vector<float> values = read(maps, 1);
  FeatureExtractor extractor(network, kernels);
  const int64_t size = maps.row_shape().count();
  int different = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Sample sample = train.images->load(rows[i]);
    const auto features_of = [&](const Image& image) {
      const Tensor picture = Tensor::host({1, image.height, image.width, 3});
      std::ranges::transform(image.pixels, picture.floats(), [](uint8_t v) { return static_cast<float>(v) / 255.0F; });
      const Tensor features = extractor.features(picture);
      return std::vector<float>(features.floats(), features.floats() + features.count());
    };
    const Sample seen = augmented(network.preprocess, experiment.augmentation, {3, 1, rows[i]}, sample);
    const std::vector<float> want = features_of(seen.image), plain = features_of(sample.image);
    for (int64_t k = 0; k < size; ++k)
      REQUIRE(values[i * static_cast<size_t>(size) + static_cast<size_t>(k)] ==
              doctest::Approx(want[static_cast<size_t>(k)]).epsilon(1e-4));
    different += want != plain;
  }
  CHECK(different >= 18);
  CHECK(read(maps, 2) != values);
  CHECK(read(maps, 1) == values);
  const std::vector<float> split = read(parts, 1);
  for (size_t i = 0; i < split.size(); ++i) REQUIRE(split[i] == doctest::Approx(values[i]).epsilon(1e-4));
  const std::vector<float> mean = read(means, 1);
  const auto channels = static_cast<size_t>(network.channels), positions = static_cast<size_t>(size) / channels;
  for (size_t i = 0; i < mean.size(); ++i) {
    double sum = 0;
    for (size_t p = 0; p < positions; ++p) sum += values[(i / channels * positions + p) * channels + i % channels];
    REQUIRE(mean[i] == doctest::Approx(sum / static_cast<double>(positions)).epsilon(1e-5));
  }
}

TEST_CASE("augmented probes: one pass of the backbone a batch for all of them, and no cached training split") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = augmented_experiment(folder.path());
  experiment["data"]["batch_size"] = 20;
  const auto two = counts_of(experiment, folder / "two");
  json one = experiment;
  one["probes"].erase(1);
  const auto alone = counts_of(one, folder / "one");
  // 72 pictures in batches of 20, three epochs; each picture is decoded once an epoch.
  CHECK(two.at("train/step") == 12);
  CHECK(two.at("data/decode") == 3 * 72 + 36);
  CHECK(two.at("data/decode") == alone.at("data/decode"));
  // Another probe adds its own passes, forward in training and in the test, and none of the backbone.
  CHECK(two.at("forward") - alone.at("forward") == 12 + 1);
  int caches = 0;
  for (const auto& entry : fs::directory_iterator(folder / "two/features")) caches += entry.is_directory() ? 1 : 0;
  CHECK(caches == 1);
  // A probe does not depend on its company.
  const Probe together = Probe::load(folder / "two/probes/linear-ce.safetensors");
  const Probe single = Probe::load(folder / "one/probes/linear-ce.safetensors");
  const Tensor &a = together.parameters.at("head.weight"), &b = single.parameters.at("head.weight");
  // Beside an MLP it reads maps, alone their means: equal up to rounding.
  for (int64_t i = 0; i < a.count(); ++i)
    CHECK(a.floats()[i] == doctest::Approx(b.floats()[i]).epsilon(1e-3).scale(0.1));
}

TEST_CASE("augmented probes: they learn, other weights than without, and are read again") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = augmented_experiment(folder.path());
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  const json results = results_of(folder / "out");
  for (const json& probe : results["probes"]) {
    CHECK(probe["training_loss"].size() == 3);
    CHECK(probe["training_loss"].back() < probe["training_loss"].front());
  }
  const std::string weights = read_file(folder / "out/probes/linear-ce.safetensors");
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  CHECK(contains(read_file(folder / "out/run.log"), "linear-ce: trained by an earlier run"));
  CHECK(results_of(folder / "out") == results);
  experiment["training"]["augment"]["padding"] = 2;
  CHECK(run_here(experiment, folder / "out") == Outcome::complete);
  CHECK(read_file(folder / "out/probes/linear-ce.safetensors") != weights);
  experiment["training"].erase("augment");
  CHECK(run_here(experiment, folder / "plain") == Outcome::complete);
  CHECK(contains(read_file(folder / "plain/run.log"), "features (train)"));
}

TEST_CASE("augmented probes: pictures of another size than those to test on are refused") {
  const TemporaryFolder folder;
  write_inputs(folder.path());
  json experiment = augmented_experiment(folder.path());
  experiment["training"]["augment"]["size"] = 28;
  CHECK(contains(error_of([&] { run_here(experiment, folder / "out"); }),
                 "/training/augment/size: other pictures than those to test on; got 28x28; expected 32x32"));
  CHECK_FALSE(fs::exists(folder / "out"));
  experiment["training"]["augment"]["size"] = 32;
  CHECK(Experiment::parse(experiment, ".").augmentation.size == 32);
}
