#include "probes/trainer.h"

#include <algorithm>

#include "probes/training_loop.h"
#include "runtime/error.h"

namespace hp {
namespace {

void check_inputs(const TrainingInputs& inputs, const Labels& labels) {
  require(inputs.size() >= 1, "[trainer] no features; got 0 rows; expected at least 1");
  require(inputs.sample(inputs.size() - 1) < labels.size(),
          "[trainer] fewer labels than samples; got {}; expected more than {}", labels.size(),
          inputs.sample(inputs.size() - 1));
}

Learner learner_for(Probe& probe, const TrainingInputs& inputs, const Recipe& recipe, SharedLayer& shared,
                    Kernels& kernels) {
  Trainee trainee{.graph = {}, .loss = probe.spec().loss};
  probe.build(trainee.graph, trainee.graph.input("features", inputs.batch_shape(recipe.batch_size)));
  Learner learner{.name = probe.spec().name, .learning_rate = probe.spec().learning_rate, .training = {}, .store = {}};
  if (SharedLayer::takes(trainee.graph, kernels)) {
    SharedLayer::Rest rest = shared.add(trainee.graph, probe.parameters);
    learner.shared = &shared;
    learner.member = rest.member;
    trainee.graph = std::move(rest.graph);
    trainee.input_gradient = true;
  }
  learner.training = std::make_unique<GraphTraining>(std::move(trainee), probe.parameters, recipe.optimizer, kernels);
  learner.store = [&probe](const Learner& own) { own.store_weights(probe.parameters); };
  return learner;
}

}  // namespace

void Recipe::check() const {
  require(learning_rate > 0, "[recipe] learning_rate out of range; got {}; expected above 0", learning_rate);
  require(epochs >= 1, "[recipe] epochs out of range; got {}; expected at least 1", epochs);
  require(batch_size >= 1, "[recipe] batch_size out of range; got {}; expected at least 1", batch_size);
  require(accumulate >= 1, "[recipe] accumulate out of range; got {}; expected at least 1", accumulate);
  require(label_smoothing >= 0 && label_smoothing < 1,
          "[recipe] label_smoothing out of range; got {}; expected 0 to below 1", label_smoothing);
  optimizer.check();
  schedule.check();
}

TrainingReport train(std::span<Probe* const> probes, TrainingInputs& inputs, const Labels& labels, const Recipe& recipe,
                     Kernels& kernels, const TrainingOptions& options) {
  recipe.check();
  check_inputs(inputs, labels);
  std::vector<Learner> learners;
  SharedLayer shared(recipe.optimizer, kernels);
  for (Probe* probe : probes) {
    if (!probe->trainable()) continue;
    check_loss(probe->spec().loss, labels);
    require(probe->class_count() == labels.classes(),
            "[trainer] probe '{}' has other classes than the data; got {}; expected {}", probe->spec().name,
            probe->class_count(), labels.classes());
    learners.push_back(learner_for(*probe, inputs, recipe, shared, kernels));
  }
  const bool shares = std::ranges::any_of(learners, [](const Learner& learner) { return learner.shared != nullptr; });
  if (shares) shared.start();
  return TrainingLoop(std::move(learners), shares ? &shared : nullptr, inputs, labels, recipe, kernels, options).run();
}

TrainingReport train(std::span<Probe* const> probes, const Features& features, const Labels& labels,
                     const Recipe& recipe, Kernels& kernels, const TrainingOptions& options) {
  FeatureInputs inputs(features);
  return train(probes, inputs, labels, recipe, kernels, options);
}

TrainingReport train(TrainedNetwork& network, TrainingInputs& images, const Labels& labels, const Recipe& recipe,
                     Kernels& kernels, const TrainingOptions& options) {
  recipe.check();
  check_inputs(images, labels);
  check_loss(network.loss, labels);
  Learner learner{.name = network.name, .training = {}, .store = {}};
  learner.training = std::make_unique<GraphTraining>(Trainee{.graph = network.graph, .loss = network.loss},
                                                     network.parameters, recipe.optimizer, kernels);
  learner.store = [&network](const Learner& own) { own.store_weights(network.parameters); };
  std::vector<Learner> learners;
  learners.push_back(std::move(learner));
  return TrainingLoop(std::move(learners), nullptr, images, labels, recipe, kernels, options).run();
}

}  // namespace hp
