// TrainingLoop: the epochs and steps of a training, for one or several graphs that read the same inputs.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "probes/graph_training.h"
#include "probes/shared_layer.h"
#include "probes/trainer.h"
#include "probes/training_state.h"

namespace hp {

// One graph of a training.
struct Learner {
  std::string name;
  double learning_rate = 0;  // 0: that of the recipe
  std::unique_ptr<GraphTraining> training;
  std::function<void(const Learner&)> store;  // copies the weights to where the caller wants them
  // Where the first layer is shared with others: `training` is of what lies behind it.
  SharedLayer* shared = nullptr;
  size_t member = 0;

  void store_weights(Parameters& into) const;
};

class TrainingLoop {
 public:
  // `shared` is that of some learners, or null.
  TrainingLoop(std::vector<Learner> learners, SharedLayer* shared, TrainingInputs& inputs, const Labels& labels,
               const Recipe& recipe, Kernels& kernels, const TrainingOptions& options);
  TrainingReport run();

 private:
  using Clock = std::chrono::steady_clock;

  Tensor allocate(const Shape& shape, DType dtype);
  Tensor on_device(const Tensor& host);
  void upload(const Tensor& host, const Tensor& device, int64_t rows);

  void resume();
  void save_state();
  bool run_epoch();  // false if it was cancelled
  bool finish_epoch();
  void run_step(std::span<const int64_t> rows);
  void run_part(std::span<const int64_t> rows, float share);
  std::vector<int64_t> load_inputs(std::span<const int64_t> rows);
  void load_targets(std::span<const int64_t> rows);
  void accumulate(const Learner& learner, int64_t count, float share);
  int32_t* ranks_of(const Tensor& ranks, size_t learner) const;
  void collect_ranks();
  void collect_losses();
  void tell();
  [[noreturn]] void stop_for(const Learner& learner) const;
  double rate_of(const Learner& learner) const;
  Progress progress() const;

  std::vector<Learner> learners_;
  SharedLayer* shared_;
  TrainingInputs& inputs_;
  const Labels& labels_;
  const Recipe& recipe_;
  Kernels& kernels_;
  const TrainingOptions& options_;
  Tensor host_inputs_, device_inputs_, host_targets_, host_labels_, device_labels_;
  Tensor ranks_, device_ranks_;  // of each learner's samples: [learners, samples]
  std::map<LossKind, Tensor> device_targets_;
  std::vector<int64_t> samples_;
  TrainingPosition at_;  // what a state file holds besides the learners
  int64_t steps_ = 0;
  int64_t seen_since_ = 0;  // samples since start_
  int64_t ranked_ = 0;      // samples whose ranks have not been counted
  double factor_ = 1;
  Clock::time_point start_, saved_, told_;
};

}  // namespace hp
