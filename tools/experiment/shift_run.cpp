#include "tools/experiment/shift_run.h"

#include <algorithm>

#include "runtime/error.h"
#include "tools/experiment/evaluation_run.h"

namespace hp {

namespace {

size_t probe_of(const Experiment& experiment) {
  const std::string& name = experiment.shift->probe;
  for (size_t i = 0; i < experiment.probes.size(); ++i) {
    if (experiment.probes[i].name == name) return i;
  }
  fail("[experiment] /shift/probe: no such probe; got {}; expected one of the probes' names", name);
}

// The experiment whose probes are the shifted ones and whose only evaluation is GridPG of three methods.
Experiment shift_experiment(const Experiment& experiment) {
  Experiment shift = experiment;
  shift.attributions.clear();
  for (const char* method : {"ixg", "gradcam", "lrp"}) {
    const auto given = std::ranges::find(experiment.attributions, method, &AttributionSpec::method);
    const nlohmann::json options = given == experiment.attributions.end() ? nlohmann::json::object() : given->options;
    shift.attributions.push_back({method, method, options});
  }
  EvaluationSpec gridpg{"gridpg", EvaluationKind::gridpg, {"ixg", "gradcam", "lrp"}, {}, experiment.shift->grids};
  gridpg.images = {true, experiment.shift->cells, experiment.shift->confidence, 100};
  shift.evaluations = {gridpg};
  shift.gallery = 1;
  shift.raw_maps = false;
  shift.layers.clear();
  return shift;
}

}  // namespace

void check_shift(const Experiment& experiment, const SplitData& train) {
  if (!experiment.shift) return;
  const ProbeSpec& probe = experiment.probes[probe_of(experiment)];
  require(reads_pooled(probe.head),
          "[experiment] /shift/probe: not linear; got {} with head {}; expected a probe with head linear or converted",
          probe.name, name_of(probe.head));
  require(!train.labels.multi_label(),
          "[experiment] /shift: softmax needs one label an image; got multi-label data; expected single-label data");
}

bool run_shift(const ShiftRun& run) {
  const Experiment& experiment = run.run.experiment;
  if (!experiment.shift) return true;
  const ShiftSpec& spec = *experiment.shift;
  const size_t index = probe_of(experiment);
  const Probe& probe = run.probes.probes[index];
  const std::vector<float> unit = shift_vector(probe, spec.direction, *run.train.features, experiment.seed);
  ShiftResult& result = run.results.shift.emplace();
  result.probe = spec.probe;
  result.direction = name_of(spec.direction);
  result.mean_norm = mean_weight_norm(probe);

  TestedProbes tested;
  const Predictions& before = run.probes.predictions[index];
  const auto scores =
      exact_shift_scores(probe, unit, spec.scales, *run.test.features, run.test.labels, &run.run.cancelled);
  if (!scores) return false;
  for (size_t i = 0; i < spec.scales.size(); ++i) {
    const double scale = spec.scales[i];
    Probe moved = shifted(probe, unit, scale);
    const std::optional<Predictions> after =
        predict(moved, *run.test.features, 256, run.run.kernels, &run.run.cancelled);
    if (!after) return false;
    result.points.push_back(
        {scale, moved.spec().name, (*scores)[i], shift_scores(*after, before, run.test.labels).softmax_change});
    tested.predictions.push_back(before);  // grids are chosen by the unshifted probe, the same for every scale
    tested.probes.push_back(std::move(moved));
  }
  run.save();
  const Experiment shift = shift_experiment(experiment);
  const FeatureRun shift_run{shift,         run.run.network, run.run.kernels,  run.run.engine,
                             run.run.cache, run.run.journal, run.run.cancelled};
  Results own;
  const std::filesystem::path folder = run.folder / "shift";
  std::filesystem::create_directories(folder);
  const auto save = [&] {
    result.rows = own.rows;
    result.gallery = own.gallery;
    for (GalleryItem& item : result.gallery) {  // relative to the output folder, as everywhere
      item.input = "shift" / item.input;
      for (GalleryMap& map : item.maps) map.picture = "shift" / map.picture;
    }
    run.save();
  };
  return evaluate({shift_run, run.test, tested, folder, own, save, true});
}

}  // namespace hp
