#include "tools/experiment/probes_run.h"

#include <algorithm>
#include <memory>

#include "probes/digest.h"
#include "probes/training_state.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "tools/experiment/augmented_features.h"
#include "tools/experiment/given_probes.h"
#include "tools/experiment/probe_digest.h"

namespace hp {

namespace {

using nlohmann::json;

// Everything that decides a probe's weights.
std::string training_digest(const FeatureRun& run, const SplitData& train, size_t index) {
  json all;
  all["features"] = feature_key(run.experiment, run.network, train, run.engine).digest();
  all["training"] = run.experiment.resolved["training"];
  if (run.experiment.augmentation.active()) all["backbone_batch"] = run.experiment.batch_size;
  all["seed"] = run.experiment.seed;
  all["probe"] = run.experiment.resolved["probes"][index];
  if (const std::filesystem::path& file = run.experiment.probe_files[index]; !file.empty())
    all["probe_file"] = sha256_of(MappedFile(file).bytes());
  all["threads"] = run.engine;
  all["labels"] = train.images->classes();
  // Class names may come from folders and need not be UTF-8.
  return sha256_of(all.dump(-1, ' ', true, json::error_handler_t::replace));
}

Probe make_probe(const FeatureRun& run, const SplitData& train, size_t index) {
  ProbeSpec spec = run.experiment.probes[index];
  const std::vector<std::string>& classes = train.images->classes();
  const auto count = static_cast<int64_t>(classes.size());
  if (run.experiment.constants[index] == LogitConstant::off) spec.logit_constant = off_logit(count);
  if (run.experiment.constants[index] == LogitConstant::automatic)
    spec.logit_constant = protocol_logit_constant(spec, count, train.labels.multi_label());
  if (std::optional<Probe> given = given_probe(run.experiment, run.network, classes, index)) return std::move(*given);
  return Probe::fresh(spec, run.network.channels, classes, run.experiment.seed);
}

// The probe of an earlier run, if it was trained in the same way.
std::optional<Probe> earlier_probe(const std::filesystem::path& file, const std::string& digest, Journal& journal) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    Probe probe = Probe::load(file);
    auto found = probe.provenance.find("training");
    if (found == probe.provenance.end() || found->second != digest) return std::nullopt;
    found = probe.provenance.find("digest");
    require(found != probe.provenance.end() && found->second == digest_of(probe),
            "[probe] the contents of {} do not fit their digest", file.string());
    return probe;
  } catch (const Error& error) {  // overwritten only when it is trained again
    journal.warn(fmt::format("{}; it is trained again", error.what()));
    return std::nullopt;
  }
}

void read_curves(const Probe& probe, ProbeResult& result) {
  auto found = probe.provenance.find("curves");
  if (found == probe.provenance.end()) return;
  const json curves = json::parse(found->second, nullptr, false);
  if (!curves.is_object()) return;
  result.training_loss = curves.value("loss", std::vector<double>());
  result.training_top1 = curves.value("top1", std::vector<double>());
}

// One after the other, or one below the other.
std::string progress_text(const Progress& progress, const char* separator) {
  std::string text =
      fmt::format("epoch {}/{}, rate {:.3g}", progress.epoch + 1, progress.epochs, progress.learning_rate);
  for (const ProbeProgress& probe : progress.probes) {
    text += fmt::format("{}{} loss {:.4f}", separator, probe.name, probe.loss);
    if (probe.top1 >= 0) text += fmt::format(" top-1 {:.3f}", probe.top1);
  }
  return text;
}

std::unique_ptr<TrainingInputs> inputs_of(const FeatureRun& run, const SplitData& train) {
  const Experiment& experiment = run.experiment;
  if (!experiment.augmentation.active()) return std::make_unique<FeatureInputs>(*train.features);
  auto pictures = std::make_unique<ImageInputs>(
      *train.images,
      ImageInputOptions{run.network.preprocess, experiment.augmentation, experiment.seed, experiment.recipe.batch_size,
                        experiment.workers, run.kernels.observer(), [&](const Unreadable& image) {
                          run.journal.warn(fmt::format("skipped {}: {}", image.id, image.reason));
                        }});
  return std::make_unique<AugmentedFeatures>(run.network, std::move(pictures), pooled_features(experiment),
                                             experiment.batch_size, run.kernels);
}

// The probes that train together, by their places in the experiment.
struct Group {
  std::vector<size_t> places;
  std::string digest;  // of all their trainings
};

Group group_of(std::vector<size_t> places, const std::vector<std::string>& digests) {
  Group group{std::move(places), ""};
  for (const size_t place : group.places) group.digest += digests[place] + " ";
  return group;
}

// Those that no earlier run finished; or all of the group that it left in the middle, since it may have been killed
// while it wrote them one by one. A state of other probes is given up.
Group group_to_train(const FeatureRun& run, const std::vector<size_t>& missing, const std::vector<std::string>& digests,
                     const std::filesystem::path& state) {
  Group wanted = group_of(missing, digests);
  if (!std::filesystem::exists(state)) return wanted;
  const std::string found = missing.empty() ? "" : experiment_of_state(state);
  std::vector<size_t> places;
  for (size_t i = 0; i < digests.size(); ++i) {
    if (found.find(digests[i]) != std::string::npos) places.push_back(i);
  }
  Group left = group_of(std::move(places), digests);
  if (!missing.empty() && left.digest == found && std::ranges::includes(left.places, missing)) return left;
  if (!missing.empty()) run.journal.say("an interrupted training of other probes, or by other settings, is given up");
  std::filesystem::remove(state);
  return wanted;
}

void store_curves(const TrainingReport& report, std::span<Probe* const> probes) {
  for (size_t p = 0; p < probes.size(); ++p) {
    json curves;
    for (const Progress& epoch : report.curves) {
      curves["loss"].push_back(epoch.probes[p].loss);
      if (epoch.probes[p].top1 >= 0) curves["top1"].push_back(epoch.probes[p].top1);
    }
    probes[p]->provenance["curves"] = curves.dump();
  }
}

// False if it was cancelled; the state then says how to go on.
bool train_group(const FeatureRun& run, const SplitData& train, std::span<Probe* const> probes,
                 const StateOptions& state) {
  if (probes.empty()) return true;
  const int64_t epochs = run.experiment.recipe.epochs;
  const std::unique_ptr<TrainingInputs> inputs = inputs_of(run, train);
  run.journal.start("probes", epochs * inputs->size(), "samples");
  TrainingOptions options;
  options.cancelled = &run.cancelled;
  options.state = state;
  options.state.resumed = [&](int64_t epoch, int64_t step) {
    run.journal.say(fmt::format("probes: training goes on behind epoch {} and {} steps", epoch, step));
  };
  options.progress = [&](const Progress& progress) {
    run.journal.advance(progress.epoch * inputs->size() + progress.seen, progress_text(progress, "\n"));
    const bool worth_a_line = progress.epoch == 0 || progress.epoch + 1 == epochs || (progress.epoch + 1) % 10 == 0;
    if (progress.step == progress.steps && worth_a_line) run.journal.say(progress_text(progress, ", "));
  };
  const TrainingReport report = hp::train(probes, *inputs, train.labels, run.experiment.recipe, run.kernels, options);
  if (report.epochs < epochs) return false;
  run.journal.advance(epochs * inputs->size());
  run.journal.finish();
  store_curves(report, probes);
  return true;
}

// A probe's file does not know its learning rate: that is the experiment's, 0 for the recipe's.
ProbeResult test_probe(const FeatureRun& run, const SplitData& test, const Probe& probe, double learning_rate,
                       const Predictions& predictions) {
  ProbeResult result;
  result.name = probe.spec().name;
  result.head = name_of(probe.spec().head);
  if (probe.spec().layers > 1) result.head += fmt::format(", {} layers", probe.spec().layers);
  result.loss = name_of(probe.spec().loss);
  result.learning_rate = learning_rate > 0 ? learning_rate : run.experiment.recipe.learning_rate;
  if (test.labels.multi_label()) {
    const MultiLabelScores scores = multi_label_scores(predictions, test.labels);
    result.mean_average_precision = scores.mean_average_precision;
    result.average_precision = scores.average_precision;
    run.journal.say(
        fmt::format("{}: mAP {:.4f}, macro F1 {:.4f}", result.name, scores.mean_average_precision, scores.macro.f1));
  } else {
    const Accuracy score = accuracy(predictions, test.labels);
    result.top1 = score.top1;
    result.top5 = score.top5;
    run.journal.say(fmt::format("{}: top-1 {:.4f}, top-5 {:.4f}", result.name, score.top1, score.top5));
  }
  read_curves(probe, result);
  return result;
}

// Writes a probe with what it was made from.
void finish_probe(const FeatureRun& run, const std::string& digest, Probe& probe, const std::filesystem::path& file) {
  probe.provenance["training"] = digest;
  probe.provenance["seed"] = std::to_string(run.experiment.seed);
  probe.provenance["backbone_sha256"] = run.network.sha256;
  probe.provenance["backbone_features"] = run.network.features;
  probe.provenance["digest"] = digest_of(probe);
  probe.save(file);
}

}  // namespace

TestedProbes train_and_test(const FeatureRun& run, const SplitData& train, const SplitData& test,
                            const std::filesystem::path& folder) {
  const Observed observed(run.kernels.observer(), "run/probes");
  const auto file_of = [&](size_t i) { return folder / "probes" / (run.experiment.probes[i].name + ".safetensors"); };
  TestedProbes tested;
  std::vector<std::string> digests;
  std::vector<size_t> missing;
  for (size_t i = 0; i < run.experiment.probes.size(); ++i) {
    check_loss(run.experiment.probes[i].loss, train.labels);
    digests.push_back(training_digest(run, train, i));
    std::optional<Probe> earlier = earlier_probe(file_of(i), digests.back(), run.journal);
    const bool fresh = !earlier.has_value();
    tested.probes.push_back(earlier ? std::move(*earlier) : make_probe(run, train, i));
    if (!fresh) run.journal.say(fmt::format("{}: trained by an earlier run", run.experiment.probes[i].name));
    if (!fresh) continue;
    if (tested.probes[i].trainable()) missing.push_back(i);
    if (!tested.probes[i].trainable()) finish_probe(run, digests[i], tested.probes[i], file_of(i));
  }
  const std::filesystem::path state = folder / "probes.state";
  const Group group = group_to_train(run, missing, digests, state);
  std::vector<Probe*> training;
  for (const size_t i : group.places) {
    tested.probes[i] = make_probe(run, train, i);
    training.push_back(&tested.probes[i]);
  }
  if (!train_group(run, train, training,
                   {.file = state, .experiment = group.digest, .resume = true, .every_epoch = false}))
    return tested;
  for (const size_t i : group.places) finish_probe(run, digests[i], tested.probes[i], file_of(i));
  std::filesystem::remove(state);
  for (size_t i = 0; i < tested.probes.size(); ++i) {
    const Probe& probe = tested.probes[i];
    std::optional<Predictions> predictions = predict(probe, *test.features, 256, run.kernels, &run.cancelled);
    if (!predictions) return tested;
    tested.results.push_back(test_probe(run, test, probe, run.experiment.probes[i].learning_rate, *predictions));
    tested.predictions.push_back(std::move(*predictions));
  }
  tested.complete = true;
  return tested;
}

}  // namespace hp
