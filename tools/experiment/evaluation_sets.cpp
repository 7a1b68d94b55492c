#include "tools/experiment/evaluation_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace hp {

namespace {

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

// How many of a set's images an evaluation that wants `count` (0: all) and others that want `most` need together.
int64_t larger(int64_t most, int64_t count) { return most < 0 || count == 0 ? -1 : std::max(most, count); }

}  // namespace

bool Evaluation::uses(const std::string& method) const {
  return std::ranges::find(spec->methods, method) != spec->methods.end();
}

int64_t EvaluationSet::count(const std::string& method) const {
  int64_t most = 0;
  for (const Evaluation& evaluation : evaluations) {
    if (evaluation.uses(method)) most = larger(most, evaluation.spec->count);
  }
  return most;
}

int64_t EvaluationSet::count() const {
  int64_t most = 0;
  for (const Evaluation& evaluation : evaluations) most = larger(most, evaluation.spec->count);
  return most;
}

std::vector<EvaluationSet> evaluation_sets(const Experiment& experiment) {
  std::map<ImageSet, EvaluationSet> sets;
  for (const EvaluationSpec& spec : experiment.evaluations) {
    EvaluationSet& set = sets[spec.images];
    set.images = spec.images;
    set.evaluations.push_back(make_evaluation(spec));
  }
  std::vector<EvaluationSet> list;
  std::map<std::string, int> used;
  for (auto& [images, set] : sets) {
    const std::string name = images.grids ? fmt::format("grids{}x{}", images.cells, images.cells) : "images";
    const int before = used[name]++;  // grids of equal size, chosen by another confidence
    set.name = before == 0 ? name : fmt::format("{}-{}", name, before + 1);
    list.push_back(std::move(set));
  }
  return list;
}

}  // namespace hp
