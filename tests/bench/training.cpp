#include "tests/bench/training.h"

#include <fmt/format.h>

#include <cmath>

#include "probes/trainer.h"
#include "runtime/error.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "tests/attribution/networks.h"
#include "tests/bench/model.h"

namespace hp::bench {

namespace {

constexpr int64_t feature_channels = 2048, probe_batch = 256;

// The backbone with its classifier as torchvision has it: global pooling, then a linear op.
Backbone classified(const StepSpec& spec, int64_t classes) {
  Backbone backbone = build_backbone(spec.network, {spec.batch, spec.side, spec.side});
  Graph& graph = backbone.graph;
  const int64_t channels = backbone.channels();
  Value x{graph.find("features")};
  x = graph.add(std::make_shared<AvgPoolOp>(), {x}, "avgpool");
  x = graph.add(std::make_shared<ReshapeOp>(Shape{channels}), {x}, "flatten");
  const Value weight = graph.parameter("fc.weight", {classes, channels});
  graph.add(std::make_shared<LinearOp>(), {x, weight, graph.parameter("fc.bias", {classes})}, "logits");
  return backbone;
}

int64_t classes_of(const StepSpec& spec) { return spec.network.starts_with("cifar") ? 10 : 1000; }

// Cyclic labels, one-hot.
Tensor one_hot(int64_t batch, int64_t classes) {
  Tensor targets = Tensor::host({batch, classes});
  std::fill_n(targets.floats(), targets.count(), 0.0F);
  for (int64_t row = 0; row < batch; ++row) targets.floats()[row * classes + row * 7 % classes] = 1;
  return targets;
}

}  // namespace

OptimizerSettings training_optimizer() {
  OptimizerSettings settings;
  settings.weight_decay = 1e-4;
  return settings;
}

struct TrainingShop::Network {
  GraphTraining training;
  Tensor images, targets;
};

struct TrainingShop::Rows {
  Labels labels;
  std::unique_ptr<FeatureTensor> features;
};

TrainingShop::TrainingShop(CpuKernels& kernels) : kernels_(kernels) {}

TrainingShop::~TrainingShop() = default;

std::unique_ptr<TrainingShop::Network> TrainingShop::make(const StepSpec& spec) const {
  Backbone backbone = classified(spec, classes_of(spec));
  const bool bottleneck = !backbone.graph.match("layer1.0.conv3").empty();
  const Parameters parameters = test::formula_parameters(backbone.graph, bottleneck);
  Trainee trainee{std::move(backbone.graph), LossKind::ce};
  return std::unique_ptr<Network>(
      new Network{GraphTraining(std::move(trainee), parameters, training_optimizer(), kernels_),
                  formula_image(spec.batch, spec.side), one_hot(spec.batch, classes_of(spec))});
}

void TrainingShop::step(const StepSpec& spec) {
  std::unique_ptr<Network>& network = networks_[fmt::format("{} {} {}", spec.network, spec.batch, spec.side)];
  if (!network) network = make(spec);
  GraphTraining& training = network->training;
  training.reset_loss_sum();
  training.accumulate(network->images, network->targets);
  training.update(training_rate);
  require(std::isfinite(training.loss_sum()), "[bench] the loss of {} is not finite; got {}", spec.network,
          training.loss_sum());
}

Tensor TrainingShop::first_losses(const StepSpec& spec) const {
  const std::unique_ptr<Network> network = make(spec);
  Tensor losses = Tensor::host({3});
  for (int64_t i = 0; i < losses.count(); ++i) {
    network->training.reset_loss_sum();
    network->training.accumulate(network->images, network->targets);
    network->training.update(training_rate);
    losses.floats()[i] = network->training.loss_sum() / static_cast<float>(spec.batch);
  }
  return losses;
}

// 2000 different rows by formula, again and again, so that a row's class can be learned.
const TrainingShop::Rows& TrainingShop::rows(const EpochSpec& spec) {
  std::unique_ptr<Rows>& rows = rows_[fmt::format("{} {}", spec.rows, spec.classes)];
  if (rows) return *rows;
  if (features_.empty() || features_.shape()[0] != spec.rows) {
    features_ = Tensor::host({spec.rows, 1, 1, feature_channels});
    const std::vector<float> some = golden::image_tensor("features", 2000 * feature_channels);
    for (size_t i = 0; i < static_cast<size_t>(features_.count()); ++i) features_.floats()[i] = some[i % some.size()];
  }
  rows = std::make_unique<Rows>(Rows{Labels(spec.classes, false), std::make_unique<FeatureTensor>(features_)});
  for (int64_t row = 0; row < spec.rows; ++row) {
    const auto label = static_cast<int>(row % spec.classes);
    rows->labels.add({&label, 1});
  }
  return *rows;
}

std::vector<double> TrainingShop::train_probes(const EpochSpec& spec) {
  const Rows& rows = this->rows(spec);
  std::vector<Probe> probes;
  std::vector<Probe*> pointers;
  std::vector<std::string> classes;
  for (int64_t i = 0; i < spec.classes; ++i) classes.push_back(fmt::format("class{}", i));
  for (int i = 0; i < spec.probes; ++i) {
    ProbeSpec probe;
    probe.name = fmt::format("probe{}", i);
    probe.learning_rate = training_rate / (10 * (i + 1));
    probes.push_back(Probe::fresh(probe, feature_channels, classes, 1));
  }
  for (Probe& probe : probes) pointers.push_back(&probe);
  Recipe recipe;
  recipe.optimizer = training_optimizer();
  recipe.epochs = probe_epochs;
  recipe.batch_size = probe_batch;
  const TrainingReport result = train(pointers, *rows.features, rows.labels, recipe, kernels_);
  std::vector<double> losses;
  for (const ProbeProgress& probe : result.curves.back().probes) losses.push_back(probe.loss);
  return losses;
}

void TrainingShop::epochs(const EpochSpec& spec) { train_probes(spec); }

Tensor TrainingShop::last_losses(const EpochSpec& spec) {
  const std::vector<double> losses = train_probes(spec);
  Tensor result = Tensor::host({static_cast<int64_t>(losses.size())});
  std::copy(losses.begin(), losses.end(), result.floats());
  return result;
}

void TrainingShop::clear() {
  networks_.clear();
  rows_.clear();
  features_ = {};
}

}  // namespace hp::bench
