// Results: everything a run found out, as the files and the report show it.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "attribution/image.h"
#include "attribution/metrics/statistics.h"
#include "probes/shift.h"
#include "probes/trainer.h"

namespace hp {

// How good a probe is as a classifier. Shares in [0, 1].
struct ProbeResult {
  std::string name, head, loss;
  double learning_rate = 0;
  std::optional<double> top1, top5;                  // single-label data
  std::optional<double> mean_average_precision;      // multi-label data
  std::vector<double> average_precision;             // per class
  std::vector<double> training_loss, training_top1;  // per epoch
};

// How the backbone was trained, if it was; one value an epoch.
struct PretrainingResult {
  std::string model;
  std::vector<double> loss, top1, test_top1, learning_rate;
};

// One line of the table: a metric of one method on one probe.
struct Row {
  std::string evaluation, metric, method, probe;
  Summary summary;
};

// The mean of the paired differences `probe` minus `against`, record by record.
struct Difference {
  std::string evaluation, metric, method, probe, against;
  Summary summary;
  bool significant() const { return summary.interval && (summary.interval->low > 0 || summary.interval->high < 0); }
};

// A picture with what it explains: one input and, per method and probe, the map of one target.
struct GalleryMap {
  std::string method, probe;
  std::filesystem::path picture;  // relative to the output folder
};
struct GalleryItem {
  std::string evaluation, sample, target;  // "grid 3", "cell 5: horse"
  std::filesystem::path input;             // relative to the output folder
  std::vector<GalleryMap> maps;
};

// What a shift of all classes' weights changed.
struct ShiftPoint {
  double scale = 0;
  std::string name;                   // of the shifted probe: "linear-ce +0.5"
  ShiftScores scores;                 // in double precision behind the features
  double float32_softmax_change = 0;  // of the probabilities as the network computes them
};
struct ShiftResult {
  std::string probe, direction;
  double mean_norm = 0;  // mean |w_k|: the unit of the scales
  std::vector<ShiftPoint> points;
  std::vector<Row> rows;  // GridPG of every method, by the points' names
  std::vector<GalleryItem> gallery;
};

struct Results {
  std::string name;
  nlohmann::json experiment;  // resolved
  std::vector<std::string> classes;
  std::vector<std::pair<std::string, std::string>> facts;  // "backbone": "cifar_resnet56, 0.85 M parameters" ...
  std::vector<std::string> notes;                          // skipped images, negative logits, completeness
  std::optional<PretrainingResult> pretraining;
  std::vector<ProbeResult> probes;
  std::vector<Row> rows;
  std::vector<Difference> differences;
  std::vector<GalleryItem> gallery;
  std::optional<ShiftResult> shift;
  bool complete = false;  // false while a run goes on, or was stopped
};

// results.json and results.csv (one row per probe x method x metric) in `folder`; each file appears complete or not at
// all.
void write_results(const std::filesystem::path& folder, const Results& results);
// The table as text for a terminal.
std::string results_table(const Results& results);

}  // namespace hp
