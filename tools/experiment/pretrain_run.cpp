#include "tools/experiment/pretrain_run.h"

#include <algorithm>
#include <numeric>

#include "models/backbone.h"
#include "models/initialise.h"
#include "probes/digest.h"
#include "probes/training_state.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/fold.h"
#include "runtime/safetensors.h"
#include "runtime/subgraph.h"
#include "tools/experiment/image_inputs.h"

namespace hp {

namespace {

using nlohmann::json;

// Pictures come as they are, but for the experiment's own overrides.
json preprocessing_of(const PretrainSpec& spec) {
  return {{"interpolation", "none"}, {"mean", spec.mean}, {"std", spec.deviation}};
}

// Everything that decides the weights.
std::string digest_of(const PretrainRun& run) {
  json all;
  for (const char* key : {"pretrain", "data"}) all[key] = run.experiment.resolved[key];
  for (const char* key : {"workers", "test", "test_limit"}) all["data"].erase(key);
  all["seed"] = run.experiment.seed;
  all["engine"] = run.engine;
  std::string list;
  for (int64_t i = 0; i < run.train.images->size(); ++i)
    list += run.train.images->stamp(i, run.experiment.data.root) + "\n";
  all["images"] = sha256_of(list);
  return sha256_of(all.dump(-1, ' ', true, json::error_handler_t::replace));
}

json curves_of(const PretrainingResult& result) {
  return {{"loss", result.loss},
          {"top1", result.top1},
          {"test_top1", result.test_top1},
          {"learning_rate", result.learning_rate}};
}

// The curves of an equal pre-training; nothing if there is no file.
std::optional<PretrainingResult> earlier_result(const PretrainRun& run, const std::string& digest) {
  const std::filesystem::path& file = run.experiment.weights;
  if (!std::filesystem::exists(file)) return std::nullopt;
  const SafetensorsFile weights(file);
  const auto found = weights.metadata().find("pretraining");
  require(found != weights.metadata().end() && found->second == digest,
          "[experiment] {} is there and was not made by this pre-training on this machine; got {}; delete it to train "
          "anew, take out `pretrain` to use it as it is, or name another file in backbone.weights",
          file.string(), found == weights.metadata().end() ? "another file" : "other settings");
  PretrainingResult result{run.experiment.pretrain->model, {}, {}, {}, {}};
  const auto text = weights.metadata().find("curves");
  const json curves = text == weights.metadata().end() ? json() : json::parse(text->second, nullptr, false);
  if (!curves.is_object()) return result;
  result.loss = curves.value("loss", result.loss);
  result.top1 = curves.value("top1", result.top1);
  result.test_top1 = curves.value("test_top1", result.test_top1);
  result.learning_rate = curves.value("learning_rate", result.learning_rate);
  return result;
}

// Top-1 of a network in its form for evaluation, its batch norms folded.
class TestedNetwork {
 public:
  TestedNetwork(const PretrainRun& run, const Preprocess& preprocess) : run_(run), preprocess_(preprocess) {}

  // Nothing if it was cancelled.
  std::optional<double> top1(const TrainedNetwork& network) {
    const Folded folded = fold_norms(network.graph, network.parameters);
    const Parameters parameters = on_device(folded.parameters, run_.kernels);
    std::vector<int64_t> all(static_cast<size_t>(run_.test.images->size()));
    std::iota(all.begin(), all.end(), 0);
    LoaderOptions options;
    options.batch = run_.experiment.batch_size;
    options.threads = run_.experiment.workers;
    Loader loader(*run_.test.images, preprocess_, std::move(all), options);
    std::map<int64_t, std::pair<Graph, std::unique_ptr<Executor>>> by_batch;
    int64_t right = 0, seen = 0;
    while (std::optional<Batch> batch = loader.next()) {
      if (run_.cancelled) return std::nullopt;
      auto& [graph, executor] = by_batch[batch->images.shape()[0]];
      if (!executor) {
        graph = with_input_shapes(folded.graph, std::span(&batch->images.shape(), 1));
        executor = std::make_unique<Executor>(graph, parameters, run_.kernels, Keep::outputs);
      }
      right += count_right(*executor, *batch);
      seen += static_cast<int64_t>(batch->indices.size());
    }
    return static_cast<double>(right) / static_cast<double>(std::max<int64_t>(seen, 1));
  }

 private:
  int64_t count_right(Executor& executor, const Batch& batch) {
    Context context = executor.context();
    const Tensor input = context.scratch.take(batch.images.shape());
    run_.kernels.upload(batch.images.floats(), batch.images.bytes(), input.floats());
    const Activations pass = executor.run(input);
    const Tensor& logits = pass.value(executor.graph().find("logits"));
    const auto count = static_cast<int64_t>(batch.indices.size());
    std::vector<int32_t> labels, ranks(batch.indices.size());
    for (const int64_t index : batch.indices) labels.push_back(run_.test.labels.label(index));
    const Tensor on_device = context.scratch.take({2, count}, DType::int32);
    int32_t* device = on_device.data<int32_t>();
    run_.kernels.upload(labels.data(), labels.size() * sizeof(int32_t), device);
    run_.kernels.label_ranks({count, logits.shape()[1]}, logits.floats(), device, device + count);
    run_.kernels.download(device + count, ranks.size() * sizeof(int32_t), ranks.data());
    return std::count(ranks.begin(), ranks.end(), 0);
  }

  const PretrainRun& run_;
  Preprocess preprocess_;
};

TrainedNetwork fresh_network(const Experiment& experiment, const Dataset& images, const Shape& picture) {
  const PretrainSpec& spec = *experiment.pretrain;
  Backbone backbone = build_backbone(spec.model, {1, picture[0], picture[1]});
  ProbeSpec head;
  head.name = spec.model;
  head.loss = spec.loss;
  const Probe probe = Probe::fresh(head, backbone.channels(), images.classes(), experiment.seed);
  TrainedNetwork network{spec.model, std::move(backbone.graph), spec.loss, {}};
  for (const std::string& name : probe.parameters.names()) network.parameters.set(name, probe.parameters.at(name));
  set_normalisation(network.parameters, spec.mean, spec.deviation);
  probe.build(network.graph, {network.graph.find("features")});
  initialise(network.graph, experiment.seed, spec.zero_residual, network.parameters);
  return network;
}

std::string epoch_text(const Progress& progress) {
  std::string text = fmt::format("epoch {}/{}, rate {:.3g}, loss {:.4f}", progress.epoch + 1, progress.epochs,
                                 progress.learning_rate, progress.probes[0].loss);
  if (progress.probes[0].top1 >= 0) text += fmt::format(", top-1 {:.3f}", progress.probes[0].top1);
  return text;
}

PretrainingResult result_of(const std::string& model, const TrainingReport& report) {
  PretrainingResult result{model, {}, {}, {}, {}};
  for (const Progress& epoch : report.curves) {
    result.loss.push_back(epoch.probes[0].loss);
    result.learning_rate.push_back(epoch.learning_rate);
    if (epoch.probes[0].top1 < 0) continue;
    result.top1.push_back(epoch.probes[0].top1);
    result.test_top1.push_back(epoch.evaluation.value_or(0));
  }
  return result;
}

std::map<std::string, std::string> metadata_of(const Experiment& experiment, const Dataset& images) {
  return {{"architecture", experiment.pretrain->model},
          {"preprocessing", preprocessing_of(*experiment.pretrain).dump()},
          {"classes", std::to_string(images.classes().size())},
          {"source", experiment.name},
          {"converter", "hp-run"}};
}

void save(const PretrainRun& run, const std::string& digest, const PretrainingResult& result, TrainedNetwork& network) {
  network.parameters.metadata = metadata_of(run.experiment, *run.train.images);
  network.parameters.metadata["pretraining"] = digest;
  network.parameters.metadata["curves"] = curves_of(result).dump();
  if (run.experiment.weights.has_parent_path())
    std::filesystem::create_directories(run.experiment.weights.parent_path());
  save_safetensors(run.experiment.weights, network.parameters);
}

}  // namespace

Parameters untrained_weights(const Experiment& experiment, const Dataset& images) {
  TrainedNetwork network = fresh_network(experiment, images, {64, 64, 3});
  network.parameters.metadata = metadata_of(experiment, images);
  return std::move(network.parameters);
}

std::optional<PretrainingResult> pretrain(const PretrainRun& run) {
  const PretrainSpec& spec = *run.experiment.pretrain;
  const std::string digest = digest_of(run);
  if (std::optional<PretrainingResult> earlier = earlier_result(run, digest)) {
    run.journal.say(fmt::format("{}: trained by an earlier run", spec.model));
    // Killed between writing the weights and this.
    if (std::filesystem::exists(run.state) && experiment_of_state(run.state) == digest)
      std::filesystem::remove(run.state);
    return earlier;
  }
  const Preprocess preprocess = preprocess_of(preprocessing_of(spec).dump(), run.experiment.preprocess);
  ImageInputs inputs(*run.train.images, {preprocess, spec.augmentation, run.experiment.seed, spec.recipe.batch_size,
                                         run.experiment.workers, run.kernels.observer(), [&](const Unreadable& image) {
                                           run.journal.warn(fmt::format("skipped {}: {}", image.id, image.reason));
                                         }});
  TrainedNetwork network = fresh_network(run.experiment, *run.train.images, inputs.row_shape());
  TestedNetwork tested(run, preprocess);
  const int64_t total = spec.recipe.epochs * inputs.size();
  TrainingOptions options;
  options.cancelled = &run.cancelled;
  options.state = {.file = run.state, .experiment = digest, .resume = true};
  options.state.resumed = [&](int64_t epoch, int64_t step) {
    run.journal.say(fmt::format("{}: goes on behind epoch {} and {} steps", spec.model, epoch, step));
  };
  options.progress = [&](const Progress& progress) {
    run.journal.advance(progress.epoch * inputs.size() + progress.seen, epoch_text(progress));
    if (progress.step == progress.steps) run.journal.say(epoch_text(progress));
  };
  if (!run.test.labels.multi_label()) {
    options.evaluate = [&]() -> std::optional<double> {
      const std::optional<double> top1 = tested.top1(network);
      if (top1) run.journal.say(fmt::format("  test images: top-1 {:.4f}", *top1));
      return top1;
    };
  }
  run.journal.start(fmt::format("pre-training {}", spec.model), total, "images");
  const TrainingReport report = train(network, inputs, run.train.labels, spec.recipe, run.kernels, options);
  if (report.epochs < spec.recipe.epochs) return std::nullopt;
  run.journal.advance(total);
  run.journal.finish();
  PretrainingResult result = result_of(spec.model, report);
  save(run, digest, result, network);
  std::filesystem::remove(run.state);
  return result;
}

}  // namespace hp
