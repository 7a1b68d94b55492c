// Evaluation of probes: predictions, accuracy, and average precision (protocol.md 3.6). All scores are shares in [0,
// 1].
#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <vector>

#include "probes/features.h"
#include "probes/probe.h"

namespace hp {

// Logits of every row of some features.
struct Predictions {
  int64_t classes = 0;
  std::vector<int64_t> samples;  // place in the data list of each row
  std::vector<float> logits;     // [rows, classes]

  int64_t rows() const { return static_cast<int64_t>(samples.size()); }
  std::span<const float> row(int64_t index) const {
    return std::span(logits).subspan(static_cast<size_t>(index * classes), static_cast<size_t>(classes));
  }
  int64_t best(int64_t index) const;  // the class of the highest logit, the first of equals
};

// Nothing if it was cancelled.
std::optional<Predictions> predict(const Probe& probe, const Features& features, int64_t batch_size, Kernels& kernels,
                                   const std::atomic<bool>* cancelled = nullptr);

struct Accuracy {
  double top1 = 0, top5 = 0;  // top5 counts the first min(5, classes)
};
// Single-label data. Of equal logits the lower class counts as higher.
Accuracy accuracy(const Predictions& predictions, const Labels& labels);

struct Quality {
  double precision = 0, recall = 0, f1 = 0;
};

struct MultiLabelScores {
  double mean_average_precision = 0;      // over all classes; a class without a positive counts 0
  std::vector<double> average_precision;  // per class
  Quality macro;                          // mean over classes
  Quality micro;                          // of the counts of all classes together
};
// Positive where the sigmoid is at least 0.5. Classes that a sample shows in difficult objects only are left out: of
// the ranking, and of both sides of precision and recall.
MultiLabelScores multi_label_scores(const Predictions& predictions, const Labels& labels);

// Truth of one sample for one class.
enum class Truth : int8_t { ignored = -1, absent = 0, present = 1 };
// AP = sum over the ranks of positives of (positives so far / rank) / number of positives, without interpolation; 0 if
// there is no positive. Highest score first, equal scores in the order of samples; ignored samples take no rank.
double average_precision(std::span<const float> scores, std::span<const Truth> truth);

}  // namespace hp
