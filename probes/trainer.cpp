#include "probes/trainer.h"

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

Learner learner_for(Probe& probe, const TrainingInputs& inputs, const Recipe& recipe, Kernels& kernels) {
  Trainee trainee{{}, probe.spec().loss};
  probe.build(trainee.graph, trainee.graph.input("features", inputs.batch_shape(recipe.batch_size)));
  Learner learner{probe.spec().name, probe.spec().learning_rate, nullptr, {}};
  learner.training = std::make_unique<GraphTraining>(std::move(trainee), probe.parameters, recipe.optimizer, kernels);
  learner.store = [training = learner.training.get(), &probe] { training->store(probe.parameters); };
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
  for (Probe* probe : probes) {
    if (!probe->trainable()) continue;
    check_loss(probe->spec().loss, labels);
    require(probe->class_count() == labels.classes(),
            "[trainer] probe '{}' has other classes than the data; got {}; expected {}", probe->spec().name,
            probe->class_count(), labels.classes());
    learners.push_back(learner_for(*probe, inputs, recipe, kernels));
  }
  return TrainingLoop(std::move(learners), inputs, labels, recipe, kernels, options).run();
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
  Learner learner{network.name, 0, nullptr, {}};
  learner.training = std::make_unique<GraphTraining>(Trainee{network.graph, network.loss}, network.parameters,
                                                     recipe.optimizer, kernels);
  learner.store = [training = learner.training.get(), &network] { training->store(network.parameters); };
  std::vector<Learner> learners;
  learners.push_back(std::move(learner));
  return TrainingLoop(std::move(learners), images, labels, recipe, kernels, options).run();
}

}  // namespace hp
