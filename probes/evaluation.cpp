#include "probes/evaluation.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "runtime/error.h"
#include "runtime/executor.h"

namespace hp {
namespace {

// The head for one batch size, ready to run.
struct Runner {
  Head head;
  Executor executor;
  Runner(const Probe& probe, const Shape& features, Kernels& kernels)
      : head(probe.head(features, false, kernels)), executor(head.graph, head.parameters, kernels, Keep::outputs) {}
};

struct Counts {
  double right = 0, predicted = 0, present = 0;
  Quality quality() const {
    constexpr double epsilon = 1.1920929e-7;  // protocol.md 3.6, for scores in percent
    const double precision = right / std::max(predicted, 1.0), recall = right / std::max(present, 1.0);
    return {precision, recall, 2 * precision * recall / std::max(precision + recall, epsilon / 100)};
  }
};

std::vector<Truth> truth_matrix(const Predictions& predictions, const Labels& labels) {
  std::vector<Truth> truth(predictions.logits.size(), Truth::absent);
  for (int64_t row = 0; row < predictions.rows(); ++row) {
    const int64_t sample = predictions.samples[static_cast<size_t>(row)];
    Truth* of_row = truth.data() + row * predictions.classes;
    for (const int label : labels.difficult(sample)) of_row[label] = Truth::ignored;
    for (const int label : labels.present(sample)) of_row[label] = Truth::present;
  }
  return truth;
}

void require_fit(const Predictions& predictions, const Labels& labels) {
  require(
      predictions.classes == labels.classes() && predictions.rows() >= 1,
      "[evaluation] labels do not fit the predictions; got {} classes for {} rows of {}; expected equal classes and "
      "at least one row",
      labels.classes(), predictions.rows(), predictions.classes);
}

}  // namespace

int64_t Predictions::best(int64_t index) const {
  const std::span<const float> logits = row(index);
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

std::optional<Predictions> predict(const Probe& probe, const Features& features, int64_t batch_size, Kernels& kernels,
                                   const std::atomic<bool>* cancelled) {
  require(batch_size >= 1, "[evaluation] batch size out of range; got {}; expected at least 1", batch_size);
  Predictions predictions;
  predictions.classes = probe.class_count();
  predictions.logits.resize(static_cast<size_t>(features.size() * predictions.classes));
  std::map<int64_t, std::unique_ptr<Runner>> runners;
  std::vector<int64_t> rows;
  for (int64_t begin = 0; begin < features.size(); begin += batch_size) {
    if (cancelled && *cancelled) return std::nullopt;
    const int64_t count = std::min(batch_size, features.size() - begin);
    rows.resize(static_cast<size_t>(count));
    std::iota(rows.begin(), rows.end(), begin);
    const Tensor host = Tensor::host(features.batch_shape(count));
    features.gather(rows, host.floats());
    std::unique_ptr<Runner>& runner = runners[count];
    if (!runner) runner = std::make_unique<Runner>(probe, features.batch_shape(count), kernels);
    Tensor input = host;
    if (kernels.device() != Device::cpu) {
      input = runner->executor.context().scratch.take(host.shape());
      kernels.upload(host.floats(), host.bytes(), input.floats());
    }
    const Activations activations = runner->executor.run(input);
    const Tensor& logits = activations.value(runner->head.logits());
    kernels.download(logits.floats(), logits.bytes(), predictions.logits.data() + begin * predictions.classes);
    for (const int64_t row : rows) predictions.samples.push_back(features.sample(row));
  }
  return predictions;
}

Accuracy accuracy(const Predictions& predictions, const Labels& labels) {
  require_fit(predictions, labels);
  require(!labels.multi_label(), "[evaluation] accuracy needs one class a sample; got multi-label data");
  int64_t first = 0, among_five = 0;
  for (int64_t row = 0; row < predictions.rows(); ++row) {
    const std::span<const float> logits = predictions.row(row);
    const auto label = static_cast<size_t>(labels.label(predictions.samples[static_cast<size_t>(row)]));
    int64_t rank = 0;
    for (size_t other = 0; other < logits.size(); ++other) {
      rank += logits[other] > logits[label] || (logits[other] == logits[label] && other < label);
    }
    first += rank == 0;
    among_five += rank < 5;
  }
  const auto rows = static_cast<double>(predictions.rows());
  return {static_cast<double>(first) / rows, static_cast<double>(among_five) / rows};
}

double average_precision(std::span<const float> scores, std::span<const Truth> truth) {
  std::vector<size_t> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (truth[i] != Truth::ignored) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  double sum = 0, positives = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    if (truth[order[rank]] != Truth::present) continue;
    positives += 1;
    sum += positives / static_cast<double>(rank + 1);
  }
  return positives > 0 ? sum / positives : 0;
}

MultiLabelScores multi_label_scores(const Predictions& predictions, const Labels& labels) {
  require_fit(predictions, labels);
  const std::vector<Truth> truth = truth_matrix(predictions, labels);
  MultiLabelScores scores;
  Counts all;
  const auto classes = static_cast<size_t>(predictions.classes);
  std::vector<float> column(static_cast<size_t>(predictions.rows()));
  std::vector<Truth> column_truth(column.size());
  for (size_t c = 0; c < classes; ++c) {
    Counts counts;
    for (size_t row = 0; row < column.size(); ++row) {
      column[row] = predictions.logits[row * classes + c];
      column_truth[row] = truth[row * classes + c];
      if (column_truth[row] == Truth::ignored) continue;
      const bool predicted = column[row] >= 0, present = column_truth[row] == Truth::present;
      counts.right += predicted && present;
      counts.predicted += predicted;
      counts.present += present;
    }
    scores.average_precision.push_back(average_precision(column, column_truth));
    scores.mean_average_precision += scores.average_precision.back() / static_cast<double>(classes);
    const Quality quality = counts.quality();
    scores.macro.precision += quality.precision / static_cast<double>(classes);
    scores.macro.recall += quality.recall / static_cast<double>(classes);
    scores.macro.f1 += quality.f1 / static_cast<double>(classes);
    all.right += counts.right;
    all.predicted += counts.predicted;
    all.present += counts.present;
  }
  scores.micro = all.quality();
  return scores;
}

}  // namespace hp
