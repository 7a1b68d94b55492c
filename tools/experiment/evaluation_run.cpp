#include "tools/experiment/evaluation_run.h"

#include <algorithm>
#include <set>

#include "attribution/method.h"
#include "probes/digest.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "tools/experiment/evaluation_sets.h"
#include "tools/experiment/probe_digest.h"
#include "tools/experiment/score_log.h"

namespace hp {

namespace {

// Node names of the layers that an experiment wants to see; empty for methods without a walk to watch.
Watch watch_of(const Experiment& experiment, const Session& session, const std::string& method) {
  static const std::set<std::string> walks = {"gradient", "ixg", "guided_backprop", "lrp"};
  Watch watch;
  if (!walks.contains(method)) return watch;
  for (const std::string& pattern : experiment.layers) {
    const std::vector<int> nodes = session.backbone().match(pattern);
    require(!nodes.empty(),
            "[experiment] /output/layers: no such node; got \"{}\"; expected names of the backbone, e.g. \"layer3.*\"",
            pattern);
    for (int index : nodes) {
      const Node& node = session.backbone().node(index);
      if (node.op && !node.is_constant) watch.layers.push_back(node.name);  // weights have no relevance
    }
  }
  std::sort(watch.layers.begin(), watch.layers.end());
  watch.layers.erase(std::unique(watch.layers.begin(), watch.layers.end()), watch.layers.end());
  return watch;
}

// What the explanations of one method say besides their maps, over everything it explained.
struct MethodNotes {
  double negative = 0, rows = 0;
  std::vector<double> completeness;
  std::set<std::string> warnings;

  void add(const ScoredBatch& batch) {
    const auto count = static_cast<double>(batch.logits);
    negative += batch.negative_logits * count;
    rows += count;
    completeness.insert(completeness.end(), batch.completeness.begin(), batch.completeness.end());
    warnings.insert(batch.warnings.begin(), batch.warnings.end());
  }

  void report(const std::string& method, const std::string& set, std::vector<std::string>& notes) {
    if (rows == 0) return;
    std::string text =
        fmt::format("{} on {}: {:.1f} % of the explained logits are negative", method, set, 100 * negative / rows);
    if (!completeness.empty()) {
      std::sort(completeness.begin(), completeness.end());
      text += fmt::format("; completeness error median {:.2e}, largest {:.2e}", completeness[completeness.size() / 2],
                          completeness.back());
    }
    notes.push_back(text);
    for (const std::string& warning : warnings) notes.push_back(fmt::format("{} on {}: {}", method, set, warning));
  }
};

// One attribution on one image set.
struct Task {
  const EvaluationSet& set;
  MapSource& source;
  const AttributionSpec& attribution;
  std::vector<TargetBatch> batches;
  Watch watch;
  AttributionPtr method;
};

class Evaluator {
 public:
  explicit Evaluator(const EvaluationRun& run)
      : run_(run),
        experiment_(run.run.experiment),
        session_(run.run.network.folded, make_heads(run), run.run.kernels, experiment_.message_bytes),
        gallery_(run.folder, experiment_.gallery, experiment_.raw_maps) {}

  bool run() {
    for (const EvaluationSet& set : evaluation_sets(experiment_)) {
      const std::unique_ptr<MapSource> source = source_of(set);
      for (const AttributionSpec& attribution : experiment_.attributions) {
        if (set.count(attribution.name) == 0) continue;
        const bool complete = explain(task_of(set, *source, attribution));
        summarise_all();
        run_.save();
        if (!complete) return false;
      }
    }
    write_records();
    return true;
  }

 private:
  static std::vector<Head> make_heads(const EvaluationRun& run) {
    std::vector<Head> heads;
    const Shape map = run.run.network.feature_shape();
    for (const Probe& probe : run.probes.probes)
      heads.push_back(probe.head({1, map[0], map[1], map[2]}, run.run.network.nonnegative_features(), run.run.kernels));
    return heads;
  }

  std::unique_ptr<MapSource> source_of(const EvaluationSet& set) const {
    const int64_t count = std::max<int64_t>(0, set.count());  // 0: all
    const Network& network = run_.run.network;
    Observer* observer = run_.run.kernels.observer();
    if (!set.images.grids) return image_source(experiment_, network, run_.test, count, observer);
    return grid_source(experiment_, network, run_.test, run_.probes, set.images, count, observer);
  }

  Task task_of(const EvaluationSet& set, MapSource& source, const AttributionSpec& attribution) const {
    const int64_t wanted = set.count(attribution.name);
    const int64_t count = wanted < 0 ? source.size() : std::min(wanted, source.size());
    const std::span<const std::vector<int>> targets(source.targets().data(), static_cast<size_t>(count));
    return {set,
            source,
            attribution,
            batch_by_targets(targets, experiment_.explain_batch),
            watch_of(experiment_, session_, attribution.method),
            make_attribution(attribution.method, attribution.options)};
  }

  // Everything that decides the scores, the program among them.
  std::string digest_of(const Task& task) const {
    nlohmann::json all;
    all["program"] = program_;
    all["engine"] = run_.run.engine;
    all["images"] = feature_key(experiment_, run_.run.network, run_.test, run_.run.engine).digest();
    for (const Probe& probe : run_.probes.probes) all["probes"].push_back(hp::digest_of(probe));
    all["method"] = {task.attribution.name, task.attribution.method, task.attribution.options};
    const ImageSet& set = task.set.images;
    all["set"] = {task.set.name, set.grids, set.cells, set.confidence, set.per_class, experiment_.seed};
    for (const Evaluation& evaluation : task.set.evaluations) {
      if (!evaluation.uses(task.attribution.name)) continue;
      const EvaluationSpec& spec = *evaluation.spec;
      all["evaluations"].push_back({spec.name, evaluation.metric_name, spec.count, spec.region, spec.smoothing});
    }
    for (const TargetBatch& batch : task.batches) all["batches"].push_back({batch.images, batch.targets});
    all["memory"] = {experiment_.explain_batch, experiment_.message_bytes};
    all["pictures"] = {experiment_.gallery, experiment_.raw_maps, task.watch.layers};
    return sha256_of(all.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  }

  bool explain(const Task& task) {
    const std::string &method = task.attribution.name, &set = task.set.name;
    const Observed observed(run_.run.kernels.observer(), [&] { return Activity{"run/" + method}; });
    Journal& journal = run_.run.journal;
    ScoreLog log(run_.folder / "scores" / set / (method + ".jsonl"), digest_of(task));
    if (log.foreign())
      journal.say(fmt::format("{} on {}: scores of other settings or another program are computed again", method, set));
    MethodNotes notes;
    const size_t earlier = enter_earlier(task, log, notes);
    const auto images = [&](size_t batches) {
      int64_t count = 0;
      for (size_t i = 0; i < batches; ++i) count += std::ssize(task.batches[i].images);
      return count;
    };
    const int64_t total = images(task.batches.size());
    int64_t done = images(earlier);
    const char* unit = task.set.images.grids ? "grids" : "images";
    if (done > 0)
      journal.say(fmt::format("{} on {}: {} of {} {} scored by an earlier run", method, set, done, total, unit));
    journal.start(fmt::format("{} on {}", method, set), total, unit);
    bool complete = true;
    for (size_t i = earlier; complete && i < task.batches.size(); ++i) {
      complete = !run_.run.cancelled;
      if (!complete) break;
      const ScoredBatch scored = explain(task, i);
      log.append(scored);
      enter(scored, notes);
      done += std::ssize(task.batches[i].images);
      journal.advance(done);
    }
    if (earlier < task.batches.size()) journal.finish();
    session_.clear();  // the next method has other graphs and executors
    notes.report(method, set, run_.results.notes);
    return complete;
  }

  // Takes over what earlier runs scored, as far as their files are there. Returns the number of batches.
  size_t enter_earlier(const Task& task, ScoreLog& log, MethodNotes& notes) {
    size_t count = 0;
    while (count < std::min(log.earlier().size(), task.batches.size()) && gallery_.holds(log.earlier()[count].files))
      enter(log.earlier()[count++], notes);
    log.keep(count);
    return count;
  }

  void enter(const ScoredBatch& batch, MethodNotes& notes) {
    for (const auto& [key, records] : batch.scores) {
      std::vector<Record>& all = records_.of(key);
      all.insert(all.end(), records.begin(), records.end());
    }
    Gallery::enter(batch.gallery, run_.results);
    notes.add(batch);
  }

  ScoredBatch explain(const Task& task, size_t index) {
    const TargetBatch& batch = task.batches[index];
    const MapBatch images = task.source.load(batch, session_.context());
    if (index + 1 < task.batches.size()) task.source.expect(task.batches[index + 1]);
    const bool shown = gallery_.wants(batch);
    const Explanation explanation =
        task.method->explain(session_, images.images, batch.targets, shown ? task.watch : Watch{});
    ScoredBatch scored{score(task, batch, images, explanation),
                       explanation.negative_logits,
                       std::ssize(explanation.logits),
                       explanation.completeness,
                       explanation.warnings,
                       {},
                       {}};
    if (!shown) return scored;
    Gallery::Written written =
        gallery_.write({task.source, batch, images, explanation, task.set.name, task.attribution.name, session_});
    scored.gallery = std::move(written.items);
    scored.files = std::move(written.files);
    return scored;
  }

  std::vector<std::pair<RecordKey, std::vector<Record>>> score(const Task& task, const TargetBatch& batch,
                                                               const MapBatch& images, const Explanation& explanation) {
    const Observed observed(run_.run.kernels.observer(), "run/score");
    const int64_t rows = static_cast<int64_t>(batch.targets.size());
    std::vector<std::pair<RecordKey, std::vector<Record>>> scores;
    for (size_t head = 0; head < session_.head_count(); ++head) {
      const int64_t first = static_cast<int64_t>(head) * rows;
      const Tensor maps = explanation.map.rows(first, first + rows);
      for (const Evaluation& evaluation : task.set.evaluations) {
        if (!evaluation.uses(task.attribution.name)) continue;
        // A map is scored if its image is among the first that this evaluation asks for, and, for epg, if a box or mask
        // is left after cropping.
        scores.emplace_back(
            RecordKey{evaluation.spec->name, evaluation.metric_name, task.attribution.name, session_.head_name(head)},
            score_wanted(evaluation, batch, images, maps));
      }
    }
    return scores;
  }

  std::vector<Record> score_wanted(const Evaluation& evaluation, const TargetBatch& batch, const MapBatch& images,
                                   const Tensor& maps) {
    const size_t count = batch.images.size();
    const Shape& shape = maps.shape();
    std::vector<int64_t> wanted;
    for (size_t row = 0; row < images.subjects.size(); ++row) {
      const bool among_first = evaluation.spec->count == 0 || batch.images[row % count] < evaluation.spec->count;
      const Region& region = images.subjects[row].region;
      const bool has_region = evaluation.spec->kind != EvaluationKind::epg ||
                              !(evaluation.spec->region == "mask" ? region.mask.empty() : region.boxes.empty());
      if (among_first && has_region) wanted.push_back(static_cast<int64_t>(row));
    }
    if (wanted.size() == images.subjects.size())
      return evaluation.metric->score(session_.context(), maps, images.subjects);
    if (wanted.empty()) return {};
    const Tensor some = session_.context().scratch.take({static_cast<int64_t>(wanted.size()), shape[1], shape[2]});
    std::vector<Subject> subjects;
    for (size_t i = 0; i < wanted.size(); ++i) {
      const Tensor from = maps.rows(wanted[i], wanted[i] + 1);
      session_.context().kernels.copy(from.floats(), from.bytes(),
                                      some.rows(static_cast<int64_t>(i), static_cast<int64_t>(i) + 1).floats());
      subjects.push_back(images.subjects[static_cast<size_t>(wanted[i])]);
    }
    return evaluation.metric->score(session_.context(), some, subjects);
  }

  void summarise_all() {
    const Observed observed(run_.run.kernels.observer(), "run/statistics");
    const Bootstrap bootstrap{experiment_.seed, experiment_.resamples, experiment_.interval};
    run_.results.rows = records_.rows(bootstrap);
    run_.results.differences = records_.differences(bootstrap);
    if (run_.partial_records) write_records();
  }

  void write_records() const { records_.write(run_.folder / "records.csv"); }

  const EvaluationRun& run_;
  const Experiment& experiment_;
  Session session_;
  Gallery gallery_;
  RecordTable records_;
  // Another build may compute other last bits, or more than those.
  std::string program_ = sha256_of(MappedFile(program_file()).bytes());
};

}  // namespace

bool evaluate(const EvaluationRun& run) {
  if (run.run.experiment.evaluations.empty()) return true;
  return Evaluator(run).run();
}

}  // namespace hp
