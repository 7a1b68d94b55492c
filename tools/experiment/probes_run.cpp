#include "tools/experiment/probes_run.h"

#include "probes/digest.h"
#include "runtime/error.h"

namespace hp {

namespace {

using nlohmann::json;

// Everything that decides a probe's weights.
std::string training_digest(const FeatureRun& run, const SplitData& train, const json& probe) {
  json all;
  all["features"] = feature_key(run.experiment, run.network, train, run.engine).digest();
  all["training"] = run.experiment.resolved["training"];
  all["seed"] = run.experiment.seed;
  all["probe"] = probe;
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
  if (spec.head == HeadKind::converted)
    return Probe::converted(spec, run.network.weights, run.network.channels, classes);
  return Probe::fresh(spec, run.network.channels, classes, run.experiment.seed);
}

// The probe of an earlier run, if it was trained in the same way.
std::optional<Probe> earlier_probe(const std::filesystem::path& file, const std::string& digest) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    Probe probe = Probe::load(file);
    auto found = probe.provenance.find("training");
    if (found != probe.provenance.end() && found->second == digest) return probe;
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;  // damaged or of another make: trained again, and overwritten only when that is done
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

std::string progress_text(const Progress& progress) {
  std::string text =
      fmt::format("epoch {}/{}, rate {:.3g}", progress.epoch + 1, progress.epochs, progress.learning_rate);
  for (const ProbeProgress& probe : progress.probes) {
    text += fmt::format(", {} loss {:.4f}", probe.name, probe.loss);
    if (probe.top1 >= 0) text += fmt::format(" top-1 {:.3f}", probe.top1);
  }
  return text;
}

// Trains what an earlier run did not leave. False if it was cancelled.
bool train_missing(const FeatureRun& run, const SplitData& train, std::span<Probe* const> missing) {
  if (missing.empty()) return true;
  const int64_t epochs = run.experiment.recipe.epochs;
  run.journal.start("probes", epochs * train.features->size(), "samples");
  TrainingOptions options;
  options.cancelled = &run.cancelled;
  int64_t said = -1;
  options.progress = [&](const Progress& progress) {
    const int64_t seen = progress.epoch * train.features->size() + progress.step * run.experiment.recipe.batch_size;
    run.journal.advance(std::min(seen, epochs * train.features->size()), progress_text(progress));
    const bool last_step = progress.step == progress.steps;
    const bool worth_a_line = progress.epoch == 0 || progress.epoch + 1 == epochs || (progress.epoch + 1) % 10 == 0;
    if (last_step && worth_a_line && said != progress.epoch) run.journal.say(progress_text(progress));
    if (last_step) said = progress.epoch;
  };
  const TrainingReport report =
      hp::train(missing, *train.features, train.labels, run.experiment.recipe, run.kernels, options);
  if (report.epochs < epochs) return false;
  run.journal.advance(epochs * train.features->size());
  run.journal.finish();
  for (size_t p = 0; p < missing.size(); ++p) {
    json curves;
    for (const Progress& epoch : report.curves) {
      curves["loss"].push_back(epoch.probes[p].loss);
      if (epoch.probes[p].top1 >= 0) curves["top1"].push_back(epoch.probes[p].top1);
    }
    missing[p]->provenance["curves"] = curves.dump();
  }
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

}  // namespace

TestedProbes train_and_test(const FeatureRun& run, const SplitData& train, const SplitData& test,
                            const std::filesystem::path& folder) {
  const Observed observed(run.kernels.observer(), "run/probes");
  TestedProbes tested;
  std::vector<std::string> digests;
  std::vector<bool> reused;
  for (size_t i = 0; i < run.experiment.probes.size(); ++i) {
    check_loss(run.experiment.probes[i].loss, train.labels);
    digests.push_back(training_digest(run, train, run.experiment.resolved["probes"][i]));
    std::optional<Probe> earlier =
        earlier_probe(folder / (run.experiment.probes[i].name + ".safetensors"), digests.back());
    reused.push_back(earlier.has_value());
    tested.probes.push_back(earlier ? std::move(*earlier) : make_probe(run, train, i));
    if (reused.back()) run.journal.say(fmt::format("{}: trained by an earlier run", run.experiment.probes[i].name));
  }
  std::vector<Probe*> missing;
  for (size_t i = 0; i < tested.probes.size(); ++i) {
    if (!reused[i] && tested.probes[i].trainable()) missing.push_back(&tested.probes[i]);
  }
  if (!train_missing(run, train, missing)) return tested;
  for (size_t i = 0; i < tested.probes.size(); ++i) {
    Probe& probe = tested.probes[i];
    if (!reused[i]) {
      probe.provenance["training"] = digests[i];
      probe.provenance["seed"] = std::to_string(run.experiment.seed);
      probe.provenance["backbone_sha256"] = run.network.sha256;
      probe.save(folder / (probe.spec().name + ".safetensors"));
    }
    std::optional<Predictions> predictions = predict(probe, *test.features, 256, run.kernels, &run.cancelled);
    if (!predictions) return tested;
    tested.results.push_back(test_probe(run, test, probe, run.experiment.probes[i].learning_rate, *predictions));
    tested.predictions.push_back(std::move(*predictions));
  }
  tested.complete = true;
  return tested;
}

}  // namespace hp
