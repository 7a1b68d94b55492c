#include "probes/training_loop.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "runtime/observer.h"

namespace hp {
namespace {

// A loss adds up in single precision for so many steps. Independent of time, and of who asks for it in between: a
// resumed training has the same bits.
constexpr int64_t steps_between_sums = 25;
constexpr double seconds_between_reports = 0.5;
// Ranks wait on the device for so many samples: to fetch those of every step would make the host wait for each.
constexpr int64_t ranks_kept = 1 << 13;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void Learner::store_weights(Parameters& into) const {
  training->store(into);
  if (shared) shared->store(member, into);
}

TrainingLoop::TrainingLoop(std::vector<Learner> learners, SharedLayer* shared, TrainingInputs& inputs,
                           const Labels& labels, const Recipe& recipe, Kernels& kernels, const TrainingOptions& options)
    : learners_(std::move(learners)),
      shared_(shared),
      inputs_(inputs),
      labels_(labels),
      recipe_(recipe),
      kernels_(kernels),
      options_(options) {
  const int64_t batch = std::min(recipe.batch_size, inputs.size());
  host_inputs_ = Tensor::host(inputs.batch_shape(batch));
  device_inputs_ = on_device(host_inputs_);
  host_targets_ = Tensor::host({batch, labels.classes()});
  host_labels_ = Tensor::host({batch}, DType::int32);
  device_labels_ = on_device(host_labels_);
  ranks_ = Tensor::host({static_cast<int64_t>(learners_.size()), std::max(batch, ranks_kept)}, DType::int32);
  device_ranks_ = on_device(ranks_);
  for (const Learner& learner : learners_) {
    Tensor& targets = device_targets_[learner.training->loss()];
    if (targets.empty()) targets = allocate(host_targets_.shape(), DType::float32);
  }
  at_.tallies.resize(learners_.size());
}

Tensor TrainingLoop::allocate(const Shape& shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.count()) * size_of(dtype);
  return Tensor(shape, dtype, std::make_shared<Storage>(kernels_.allocate(bytes)));
}

// On the host the kernels read what was gathered; elsewhere a copy.
Tensor TrainingLoop::on_device(const Tensor& host) {
  return kernels_.device() == host.device() ? host : allocate(host.shape(), host.dtype());
}

void TrainingLoop::upload(const Tensor& host, const Tensor& device, int64_t rows) {
  if (host.bytes_begin() == device.bytes_begin()) return;
  kernels_.upload(host.bytes_begin(), host.rows(0, rows).bytes(), device.bytes_begin());
}

TrainingReport TrainingLoop::run() {
  if (learners_.empty()) return {};
  resume();
  start_ = saved_ = told_ = Clock::now();
  bool goes_on = true;
  while (goes_on && at_.epoch < recipe_.epochs) goes_on = run_epoch() && finish_epoch();
  if (!goes_on) save_state();
  return {at_.epoch, at_.curves};
}

void TrainingLoop::resume() {
  const StateOptions& state = options_.state;
  if (!state.resume || state.file.empty() || !std::filesystem::exists(state.file)) return;
  const TrainingState loaded = load_training_state(state.file, state.experiment, learners_.size());
  for (size_t i = 0; i < learners_.size(); ++i) {
    const Learner& learner = learners_[i];
    learner.training->restore(loaded.learners[i]);
    if (learner.shared) learner.shared->restore(learner.member, loaded.learners[i]);
  }
  at_ = loaded.position;
  // Complete epochs were handed over before the interruption; a later one hands over its own.
  if (at_.step == 0) {
    for (const Learner& learner : learners_) learner.store(learner);
  }
  if (state.resumed) state.resumed(at_.epoch, at_.step);
}

void TrainingLoop::save_state() {
  const StateOptions& state = options_.state;
  if (state.file.empty()) return;
  collect_ranks();
  TrainingState current{state.experiment, at_, {}};
  for (const Learner& learner : learners_) {
    current.learners.push_back(learner.training->state());
    if (learner.shared) learner.shared->add_state(learner.member, current.learners.back());
  }
  save_training_state(state.file, current);
  saved_ = Clock::now();
}

bool TrainingLoop::run_epoch() {
  const std::vector<int64_t> order = epoch_order(recipe_.shuffle, inputs_.size(), inputs_.row_bytes(), at_.epoch);
  const auto rows = static_cast<size_t>(recipe_.batch_size * recipe_.accumulate);
  steps_ = static_cast<int64_t>((order.size() + rows - 1) / rows);
  require(at_.step <= steps_, "[training] the state is {} steps into an epoch of {}; expected fewer", at_.step, steps_);
  if (at_.step == 0) {
    for (const Learner& learner : learners_) learner.training->reset_loss_sum();
  }
  factor_ = recipe_.schedule.factor({at_.epoch, std::max<int64_t>(at_.step - 1, 0), steps_});
  seen_since_ = 0;
  start_ = Clock::now();
  inputs_.begin_epoch(at_.epoch, order, static_cast<size_t>(at_.step) * rows);
  while (at_.step < steps_) {
    if (options_.cancelled && *options_.cancelled) return false;
    const size_t begin = static_cast<size_t>(at_.step) * rows;
    run_step(std::span(order).subspan(begin, std::min(rows, order.size() - begin)));
    ++at_.step;
    if (at_.step == steps_) collect_ranks();
    if (at_.step == steps_ || at_.step % steps_between_sums == 0) collect_losses();
    if (at_.step == steps_ || seconds_since(told_) > seconds_between_reports) tell();
    if (at_.step < steps_ && seconds_since(saved_) > options_.state.seconds) save_state();
  }
  return true;
}

bool TrainingLoop::finish_epoch() {
  for (const Learner& learner : learners_) learner.store(learner);
  Progress finished = progress();
  if (options_.evaluate) {
    finished.evaluation = options_.evaluate();
    if (!finished.evaluation) return false;
  }
  at_.curves.push_back(finished);
  ++at_.epoch;
  at_.step = at_.seen = 0;
  at_.tallies.assign(learners_.size(), {});
  const StateOptions& state = options_.state;
  if (state.every_epoch || at_.epoch == recipe_.epochs || seconds_since(saved_) > state.seconds) save_state();
  return true;
}

void TrainingLoop::run_step(std::span<const int64_t> rows) {
  const Observed observed(kernels_.observer(), "train/step");
  factor_ = recipe_.schedule.factor({at_.epoch, at_.step, steps_});
  const auto batch = static_cast<size_t>(recipe_.batch_size);
  for (size_t begin = 0; begin < rows.size(); begin += batch) {
    const auto part = rows.subspan(begin, std::min(batch, rows.size() - begin));
    run_part(part, static_cast<float>(part.size()) / static_cast<float>(rows.size()));
  }
  const Observed updating(kernels_.observer(), "train/update");
  for (const Learner& learner : learners_) {
    learner.training->update(rate_of(learner) * factor_);
    if (learner.shared) learner.shared->update(learner.member, rate_of(learner) * factor_);
  }
  if (shared_) shared_->updated();
}

void TrainingLoop::run_part(std::span<const int64_t> rows, float share) {
  const std::vector<int64_t> read = load_inputs(rows);
  if (read.empty()) return;
  const auto count = static_cast<int64_t>(read.size());
  load_targets(read);
  if (ranked_ + count > ranks_.shape()[1]) collect_ranks();
  if (shared_) {
    const Observed observed(kernels_.observer(), "train/shared layer");
    shared_->forward(device_inputs_.rows(0, count));
  }
  for (size_t i = 0; i < learners_.size(); ++i) {
    accumulate(learners_[i], count, share);
    if (!labels_.multi_label()) {
      learners_[i].training->rank_labels(device_labels_.data<int32_t>(), ranks_of(device_ranks_, i) + ranked_);
    }
  }
  if (!labels_.multi_label()) ranked_ += count;
  if (shared_) {
    const Observed observed(kernels_.observer(), "train/shared layer");
    shared_->backward();
  }
  at_.seen += count;
  seen_since_ += count;
}

void TrainingLoop::accumulate(const Learner& learner, int64_t count, float share) {
  GraphTraining& training = *learner.training;
  const Tensor inputs = learner.shared ? learner.shared->output(learner.member) : device_inputs_.rows(0, count);
  training.accumulate(inputs, device_targets_.at(training.loss()).rows(0, count), share);
  if (learner.shared) learner.shared->set_gradient(learner.member, training.input_gradient());
}

std::vector<int64_t> TrainingLoop::load_inputs(std::span<const int64_t> rows) {
  const Observed observed(kernels_.observer(), "train/features");
  std::vector<int64_t> read = inputs_.read(rows, host_inputs_.floats());
  if (!read.empty()) upload(host_inputs_, device_inputs_, static_cast<int64_t>(read.size()));
  return read;
}

// Targets once per loss, shared by its learners.
void TrainingLoop::load_targets(std::span<const int64_t> rows) {
  const Observed observed(kernels_.observer(), "train/targets");
  samples_.clear();
  for (const int64_t row : rows) samples_.push_back(inputs_.sample(row));
  const auto count = static_cast<int64_t>(rows.size());
  const Tensor part = host_targets_.rows(0, count);
  for (const auto& [loss, device] : device_targets_) {
    write_targets(loss, labels_, samples_, {part.floats(), static_cast<size_t>(part.count())}, recipe_.label_smoothing);
    kernels_.upload(part.floats(), part.bytes(), device.floats());
  }
  if (labels_.multi_label()) return;
  for (size_t i = 0; i < samples_.size(); ++i) host_labels_.data<int32_t>()[i] = labels_.label(samples_[i]);
  upload(host_labels_, device_labels_, count);
}

int32_t* TrainingLoop::ranks_of(const Tensor& ranks, size_t learner) const {
  return ranks.data<int32_t>() + static_cast<int64_t>(learner) * ranks.shape()[1];
}

void TrainingLoop::collect_ranks() {
  if (ranked_ == 0) return;
  for (size_t i = 0; i < learners_.size(); ++i) {
    int32_t *device = ranks_of(device_ranks_, i), *host = ranks_of(ranks_, i);
    if (device != host) kernels_.download(device, static_cast<size_t>(ranked_) * sizeof(int32_t), host);
    at_.tallies[i].right += std::count(host, host + ranked_, 0);
  }
  ranked_ = 0;
}

void TrainingLoop::collect_losses() {
  for (size_t i = 0; i < learners_.size(); ++i) {
    const double sum = learners_[i].training->loss_sum();
    if (!std::isfinite(sum)) stop_for(learners_[i]);
    at_.tallies[i].loss += sum;
    learners_[i].training->reset_loss_sum();
  }
}

void TrainingLoop::tell() {
  told_ = Clock::now();
  collect_ranks();
  if (options_.progress) options_.progress(progress());
}

void TrainingLoop::stop_for(const Learner& learner) const {
  const double rate = rate_of(learner);
  fail(
      "[trainer] the loss of probe '{}' is not finite in epoch {} before step {}; got learning rate {}; expected a "
      "smaller one: try {} (finished epochs are kept: {})",
      learner.name, at_.epoch, at_.step, rate, rate / 10, at_.epoch);
}

double TrainingLoop::rate_of(const Learner& learner) const {
  return learner.learning_rate > 0 ? learner.learning_rate : recipe_.learning_rate;
}

Progress TrainingLoop::progress() const {
  Progress progress{.epoch = at_.epoch,
                    .epochs = recipe_.epochs,
                    .step = at_.step,
                    .steps = steps_,
                    .seen = at_.seen,
                    .learning_rate = recipe_.learning_rate * factor_,
                    .samples_per_second = static_cast<double>(seen_since_) / std::max(seconds_since(start_), 1e-9),
                    .probes = {},
                    .evaluation = {}};
  const auto seen = static_cast<double>(std::max<int64_t>(at_.seen, 1));
  for (size_t i = 0; i < learners_.size(); ++i) {
    const double top1 = labels_.multi_label() ? -1 : static_cast<double>(at_.tallies[i].right) / seen;
    const double loss = at_.tallies[i].loss + learners_[i].training->loss_sum();
    progress.probes.push_back({learners_[i].name, loss / seen, top1});
  }
  return progress;
}

}  // namespace hp
