#include "probes/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "probes/probe_training.h"
#include "runtime/error.h"
#include "runtime/observer.h"

namespace hp {
namespace {

constexpr int64_t steps_between_reports = 25;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// What has been seen of a probe in the running epoch.
struct Tally {
  double loss = 0;
  int64_t right = 0;
};

class Training {
 public:
  Training(std::span<Probe* const> probes, const Features& features, const Labels& labels, const Recipe& recipe,
           Kernels& kernels, const TrainingOptions& options)
      : features_(features), labels_(labels), recipe_(recipe), kernels_(kernels), options_(options) {
    for (Probe* probe : probes) {
      if (!probe->trainable()) continue;
      check_loss(probe->spec().loss, labels);
      require(probe->class_count() == labels.classes(),
              "[trainer] probe '{}' has other classes than the data; got {}; "
              "expected {}",
              probe->spec().name, probe->class_count(), labels.classes());
      probes_.push_back(std::make_unique<ProbeTraining>(*probe, features.batch_shape(recipe.batch_size), kernels));
    }
    const int64_t batch = std::min(recipe.batch_size, features.size());
    host_features_ = Tensor::host(features.batch_shape(batch));
    device_features_ = on_device(host_features_);
    host_targets_ = Tensor::host({batch, labels.classes()});
    host_labels_ = Tensor::host({batch}, DType::int32);
    device_labels_ = on_device(host_labels_);
    ranks_ = Tensor::host({batch}, DType::int32);
    device_ranks_ = on_device(ranks_);
    for (const auto& probe : probes_) {
      Tensor& targets = device_targets_[probe->probe().spec().loss];
      if (targets.empty()) targets = allocate(host_targets_.shape(), DType::float32);
    }
  }

  TrainingReport run() {
    TrainingReport report;
    if (probes_.empty()) return report;
    for (epoch_ = 0; epoch_ < recipe_.epochs; ++epoch_) {
      if (!run_epoch()) return report;
      for (const auto& probe : probes_) probe->store();
      report.epochs = epoch_ + 1;
      report.curves.push_back(progress());
    }
    return report;
  }

 private:
  Tensor allocate(const Shape& shape, DType dtype) {
    const size_t bytes = static_cast<size_t>(shape.count()) * size_of(dtype);
    return Tensor(shape, dtype, std::make_shared<Storage>(kernels_.allocate(bytes)));
  }

  // On the host the kernels read what was gathered; elsewhere a copy.
  Tensor on_device(const Tensor& host) {
    return kernels_.device() == host.device() ? host : allocate(host.shape(), host.dtype());
  }

  void upload(const Tensor& host, const Tensor& device, int64_t rows) {
    if (host.bytes_begin() == device.bytes_begin()) return;
    kernels_.upload(host.bytes_begin(), host.rows(0, rows).bytes(), device.bytes_begin());
  }

  bool run_epoch() {  // false if it was cancelled
    const std::vector<int64_t> order = epoch_order(recipe_.shuffle, features_.size(), features_.row_bytes(), epoch_);
    const auto batch = static_cast<size_t>(recipe_.batch_size);
    steps_ = static_cast<int64_t>((order.size() + batch - 1) / batch);
    tallies_.assign(probes_.size(), {});
    for (const auto& probe : probes_) probe->reset_loss_sum();
    seen_ = 0;
    start_ = std::chrono::steady_clock::now();
    for (step_ = 0; step_ < steps_;) {
      if (options_.cancelled && *options_.cancelled) return false;
      const size_t begin = static_cast<size_t>(step_) * batch;
      run_step(std::span(order).subspan(begin, std::min(batch, order.size() - begin)));
      ++step_;
      if (step_ == steps_ || step_ % steps_between_reports == 0) collect_losses();
    }
    return true;
  }

  void run_step(std::span<const int64_t> rows) {
    const auto count = static_cast<int64_t>(rows.size());
    const Observed observed(kernels_.observer(), "train/step");
    load_features(rows);
    load_targets(rows);
    factor_ = recipe_.schedule.factor({epoch_, step_, steps_});
    for (size_t i = 0; i < probes_.size(); ++i) {
      const ProbeSpec& spec = probes_[i]->probe().spec();
      const double rate = spec.learning_rate > 0 ? spec.learning_rate : recipe_.learning_rate;
      const SgdStep sgd{static_cast<float>(rate * factor_), static_cast<float>(recipe_.momentum),
                        static_cast<float>(recipe_.weight_decay), recipe_.nesterov};
      probes_[i]->accumulate(device_features_.rows(0, count), device_targets_.at(spec.loss).rows(0, count),
                             static_cast<float>(count));
      update(*probes_[i], sgd);
      if (!labels_.multi_label()) count_right(i, count);
    }
    seen_ += count;
  }

  void load_features(std::span<const int64_t> rows) {
    const Observed observed(kernels_.observer(), "train/features");
    features_.gather(rows, host_features_.floats());
    upload(host_features_, device_features_, static_cast<int64_t>(rows.size()));
  }

  void update(ProbeTraining& probe, const SgdStep& sgd) {
    const Observed observed(kernels_.observer(), "train/update");
    probe.update(sgd);
  }

  // Targets once per loss, shared by its probes.
  void load_targets(std::span<const int64_t> rows) {
    const Observed observed(kernels_.observer(), "train/targets");
    samples_.clear();
    for (const int64_t row : rows) samples_.push_back(features_.sample(row));
    const auto count = static_cast<int64_t>(rows.size());
    const Tensor part = host_targets_.rows(0, count);
    for (const auto& [loss, device] : device_targets_) {
      write_targets(loss, labels_, samples_, {part.floats(), static_cast<size_t>(part.count())});
      kernels_.upload(part.floats(), part.bytes(), device.floats());
    }
    if (labels_.multi_label()) return;
    for (size_t i = 0; i < samples_.size(); ++i) host_labels_.data<int32_t>()[i] = labels_.label(samples_[i]);
    upload(host_labels_, device_labels_, count);
  }

  void count_right(size_t probe, int64_t count) {
    probes_[probe]->rank_labels(device_labels_.data<int32_t>(), device_ranks_.data<int32_t>());
    if (device_ranks_.bytes_begin() != ranks_.bytes_begin()) {
      kernels_.download(device_ranks_.bytes_begin(), device_ranks_.rows(0, count).bytes(), ranks_.bytes_begin());
    }
    const int32_t* ranks = ranks_.data<int32_t>();
    tallies_[probe].right += std::count(ranks, ranks + count, 0);
  }

  void collect_losses() {
    for (size_t i = 0; i < probes_.size(); ++i) {
      const double sum = probes_[i]->loss_sum();
      if (!std::isfinite(sum)) stop_for(probes_[i]->probe().spec());
      tallies_[i].loss += sum;
      probes_[i]->reset_loss_sum();
    }
    if (options_.progress) options_.progress(progress());
  }

  [[noreturn]] void stop_for(const ProbeSpec& spec) const {
    const double rate = spec.learning_rate > 0 ? spec.learning_rate : recipe_.learning_rate;
    fail(
        "[trainer] the loss of probe '{}' is not finite in epoch {} before step {}; got learning rate {}; expected a "
        "smaller one: try {} (finished epochs are kept: {})",
        spec.name, epoch_, step_, rate, rate / 10, epoch_);
  }

  Progress progress() const {
    Progress progress{epoch_,
                      recipe_.epochs,
                      step_,
                      steps_,
                      recipe_.learning_rate * factor_,
                      static_cast<double>(seen_) / std::max(seconds_since(start_), 1e-9),
                      {}};
    for (size_t i = 0; i < probes_.size(); ++i) {
      const auto seen = static_cast<double>(seen_);
      const double top1 = labels_.multi_label() ? -1 : static_cast<double>(tallies_[i].right) / seen;
      progress.probes.push_back({probes_[i]->probe().spec().name, tallies_[i].loss / seen, top1});
    }
    return progress;
  }

  const Features& features_;
  const Labels& labels_;
  const Recipe& recipe_;
  Kernels& kernels_;
  const TrainingOptions& options_;
  std::vector<std::unique_ptr<ProbeTraining>> probes_;
  Tensor host_features_, device_features_, host_targets_, host_labels_, device_labels_, ranks_, device_ranks_;
  std::map<LossKind, Tensor> device_targets_;
  std::vector<int64_t> samples_;
  std::vector<Tally> tallies_;
  int64_t epoch_ = 0, step_ = 0, steps_ = 0, seen_ = 0;
  double factor_ = 1;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

void Recipe::check() const {
  require(learning_rate > 0, "[recipe] learning_rate out of range; got {}; expected above 0", learning_rate);
  require(momentum >= 0 && momentum < 1, "[recipe] momentum out of range; got {}; expected 0 to below 1", momentum);
  require(weight_decay >= 0, "[recipe] weight_decay out of range; got {}; expected at least 0", weight_decay);
  require(epochs >= 1, "[recipe] epochs out of range; got {}; expected at least 1", epochs);
  require(batch_size >= 1, "[recipe] batch_size out of range; got {}; expected at least 1", batch_size);
  schedule.check();
}

TrainingReport train(std::span<Probe* const> probes, const Features& features, const Labels& labels,
                     const Recipe& recipe, Kernels& kernels, const TrainingOptions& options) {
  recipe.check();
  require(features.size() >= 1, "[trainer] no features; got 0 rows; expected at least 1");
  require(features.sample(features.size() - 1) < labels.size(),
          "[trainer] fewer labels than samples; got {}; expected more than {}", labels.size(),
          features.sample(features.size() - 1));
  return Training(probes, features, labels, recipe, kernels, options).run();
}

}  // namespace hp
