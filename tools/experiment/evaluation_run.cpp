#include "tools/experiment/evaluation_run.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "attribution/method.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "tools/experiment/records.h"

namespace hp {

namespace {

struct Evaluation {
  const EvaluationSpec* spec;
  MetricPtr metric;
  std::string metric_name;
};

Evaluation make_evaluation(const EvaluationSpec& spec) {
  switch (spec.kind) {
    case EvaluationKind::gridpg:
      return {&spec, make_metric("grid_pointing", {{"cells", spec.images.cells}, {"smoothing", spec.smoothing}}),
              "gridpg"};
    case EvaluationKind::epg:
      return {&spec, make_metric("energy_pointing", {{"smoothing", spec.smoothing}, {"region", spec.region}}), "epg"};
    case EvaluationKind::entropy:
      return {&spec, make_metric("entropy", {}), "entropy"};
    default:
      return {&spec, make_metric("gini", {}), "gini"};
  }
}

// All evaluations on one image set.
struct Set {
  ImageSet images;
  std::string name;  // "grids3x3", "images": part of file names
  std::vector<Evaluation> evaluations;
  bool uses(const Evaluation& evaluation, const std::string& method) const {
    const std::vector<std::string>& methods = evaluation.spec->methods;
    return std::find(methods.begin(), methods.end(), method) != methods.end();
  }
  // How many images a method is needed on; -1: on all, 0: on none.
  int64_t count(const std::string& method) const {
    int64_t most = 0;
    for (const Evaluation& evaluation : evaluations) {
      if (!uses(evaluation, method)) continue;
      if (evaluation.spec->count == 0) return -1;
      most = std::max(most, evaluation.spec->count);
    }
    return most;
  }
};

std::vector<Set> sets_of(const Experiment& experiment) {
  std::map<ImageSet, Set> sets;
  for (const EvaluationSpec& spec : experiment.evaluations) {
    Set& set = sets[spec.images];
    set.images = spec.images;
    set.evaluations.push_back(make_evaluation(spec));
  }
  std::vector<Set> list;
  std::map<std::string, int> used;
  for (auto& [images, set] : sets) {
    const std::string name = images.grids ? fmt::format("grids{}x{}", images.cells, images.cells) : "images";
    const int before = used[name]++;  // grids of equal size, chosen by another confidence
    set.name = before == 0 ? name : fmt::format("{}-{}", name, before + 1);
    list.push_back(std::move(set));
  }
  return list;
}

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
    for (int node : nodes) watch.layers.push_back(session.backbone().node(node).name);
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

  void add(const Explanation& explanation) {
    const double count = static_cast<double>(explanation.logits.size());
    negative += explanation.negative_logits * count;
    rows += count;
    completeness.insert(completeness.end(), explanation.completeness.begin(), explanation.completeness.end());
    warnings.insert(explanation.warnings.begin(), explanation.warnings.end());
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

class Evaluator {
 public:
  explicit Evaluator(const EvaluationRun& run)
      : run_(run),
        experiment_(run.run.experiment),
        session_(run.run.network.folded, make_heads(run), run.run.kernels, experiment_.message_bytes),
        gallery_(run.folder, experiment_.gallery, experiment_.raw_maps) {}

  bool run() {
    for (const Set& set : sets_of(experiment_)) {
      const std::unique_ptr<MapSource> source = source_of(set);
      for (const AttributionSpec& attribution : experiment_.attributions) {
        if (set.count(attribution.name) == 0) continue;
        const bool complete = explain(set, *source, attribution);
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
      heads.push_back(probe.head({1, map[0], map[1], map[2]}, true, run.run.kernels));
    return heads;
  }

  std::unique_ptr<MapSource> source_of(const Set& set) const {
    int64_t most = 0;
    bool all = false;
    for (const Evaluation& evaluation : set.evaluations) {
      most = std::max(most, evaluation.spec->count);
      all = all || evaluation.spec->count == 0;
    }
    if (set.images.grids) return grid_source(experiment_, run_.run.network, run_.test, run_.probes, set.images, most);
    return image_source(experiment_, run_.run.network, run_.test, all ? 0 : most);
  }

  bool explain(const Set& set, const MapSource& source, const AttributionSpec& attribution) {
    const AttributionPtr method = make_attribution(attribution.method, attribution.options);
    const Watch watch = watch_of(experiment_, session_, attribution.method);
    const int64_t wanted = set.count(attribution.name);
    const int64_t count = wanted < 0 ? source.size() : std::min(wanted, source.size());
    const std::span<const std::vector<int>> targets(source.targets().data(), static_cast<size_t>(count));
    Journal& journal = run_.run.journal;
    const Observed observed(run_.run.kernels.observer(), [&] { return Activity{"run/" + attribution.name}; });
    journal.start(fmt::format("{} on {}", attribution.name, set.name), count, set.images.grids ? "grids" : "images");
    MethodNotes notes;
    int64_t done = 0;
    bool complete = true;
    for (const TargetBatch& batch : batch_by_targets(targets, experiment_.explain_batch)) {
      if (run_.run.cancelled) {
        complete = false;
        break;
      }
      const MapBatch images = source.load(batch, session_.context());
      const bool shown = gallery_.wants(batch);
      const Explanation explanation = method->explain(session_, images.images, batch.targets, shown ? watch : Watch{});
      notes.add(explanation);
      score(set, attribution.name, batch, images, explanation);
      if (shown) gallery_.add({source, batch, images, explanation, set.name, attribution.name, session_}, run_.results);
      done += static_cast<int64_t>(batch.images.size());
      journal.advance(done);
    }
    journal.finish();
    session_.clear();  // the next method has other graphs and executors
    notes.report(attribution.name, set.name, run_.results.notes);
    return complete;
  }

  void score(const Set& set, const std::string& method, const TargetBatch& batch, const MapBatch& images,
             const Explanation& explanation) {
    const Observed observed(run_.run.kernels.observer(), "run/score");
    const int64_t rows = static_cast<int64_t>(batch.targets.size());
    for (size_t head = 0; head < session_.head_count(); ++head) {
      const int64_t first = static_cast<int64_t>(head) * rows;
      const Tensor maps = explanation.map.rows(first, first + rows);
      for (const Evaluation& evaluation : set.evaluations) {
        if (!set.uses(evaluation, method)) continue;
        std::vector<Record>& records =
            records_.of({evaluation.spec->name, evaluation.metric_name, method, session_.head_name(head)});
        // A map is scored if its image is among the first that this evaluation asks for, and, for epg, if a box or mask
        // is left after cropping.
        const std::vector<Record> scored = score_wanted(evaluation, batch, images, maps);
        records.insert(records.end(), scored.begin(), scored.end());
      }
    }
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
};

}  // namespace

bool evaluate(const EvaluationRun& run) {
  if (run.run.experiment.evaluations.empty()) return true;
  return Evaluator(run).run();
}

}  // namespace hp
