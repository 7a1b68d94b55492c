// GraphTraining: the parameters of one graph while they are trained: weights on the device, running statistics,
// gradients, the optimiser, and the walk.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "probes/loss.h"
#include "probes/optimizer.h"
#include "runtime/propagator.h"
#include "runtime/training_form.h"

namespace hp {

// What is trained: a graph in its form for evaluation with one input and the node "logits" [batch, classes].
struct Trainee {
  Graph graph;
  LossKind loss = LossKind::ce;
  bool input_gradient = false;  // wanted, too
};

class GraphTraining {
 public:
  // `initial`: the values of all parameters of the graph, in host memory; they are copied.
  GraphTraining(Trainee trainee, const Parameters& initial, const OptimizerSettings& optimizer, Kernels& kernels);

  // Forward and gradients of the loss times `share`; these add to those of earlier calls since the last update, so that
  // a step may be made of several parts. Batch norms normalise by the batch and move their running statistics by a
  // tenth. The loss, times the batch size, adds to loss_sum(); logits stay until the next call.
  void accumulate(const Tensor& inputs, const Tensor& targets, float share = 1);
  void update(double learning_rate);  // nothing where no gradient was accumulated
  // ranks[row]: see Kernels::label_ranks, of the last accumulate().
  void rank_labels(const int32_t* labels, int32_t* ranks);

  void reset_loss_sum();
  float loss_sum() const;  // waits for the device

  // Copies every parameter of the graph, trained or running, to host memory.
  void store(Parameters& into) const;
  // All that decides how training goes on: parameters and the optimiser's memory, in host memory.
  Parameters state() const;
  void restore(const Parameters& state);  // throws hp::Error if a tensor is missing or of another shape

  const std::vector<std::string>& trained() const { return names_; }
  const std::vector<Tensor>& gradients() const { return gradients_; }  // of the parts since the last update
  const Tensor& input_gradient() const { return input_gradient_; }     // of the last accumulate(), if it is wanted
  LossKind loss() const { return trainee_.loss; }

 private:
  // The training form with its loss for one batch size.
  struct Pass {
    TrainingForm form;
    int logits = -1, loss = -1;
    std::vector<Tap> taps;  // the parameters' nodes, in the order of names_
    std::unique_ptr<Executor> executor;
    std::unique_ptr<Propagator> propagator;
  };
  Pass& pass(int64_t batch);
  void follow_statistics(const Pass& pass);
  void collect_gradients(const Pass& pass, const RelevanceTrace& trace);

  Trainee trainee_;
  Kernels& kernels_;
  Parameters parameters_;
  std::vector<std::string> names_;
  std::vector<Tensor> gradients_;
  std::unique_ptr<Optimizer> optimizer_;
  std::map<int64_t, Pass> passes_;
  Tensor seed_, loss_sum_, logits_, input_gradient_;
  Activations last_;
};

}  // namespace hp
