// EvaluationSet: all evaluations of an experiment that look at the same images, so that these are explained once.
#pragma once

#include <string>
#include <vector>

#include "attribution/metrics/metric.h"
#include "tools/experiment/experiment.h"

namespace hp {

struct Evaluation {
  const EvaluationSpec* spec;
  MetricPtr metric;
  std::string metric_name;
  bool uses(const std::string& method) const;
};

struct EvaluationSet {
  ImageSet images;
  std::string name;  // "grids3x3", "images": part of file names
  std::vector<Evaluation> evaluations;

  // How many images are needed: by a method, or by any. -1: all, 0: none.
  int64_t count(const std::string& method) const;
  int64_t count() const;
};

// The experiment must outlive the sets.
std::vector<EvaluationSet> evaluation_sets(const Experiment& experiment);

}  // namespace hp
