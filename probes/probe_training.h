// ProbeTraining: one probe while it is trained: its weights on the device, gradients, optimiser state, and the walk.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "probes/probe.h"
#include "runtime/propagator.h"

namespace hp {

class ProbeTraining {
 public:
  // `features` is the shape of one batch; other batches may differ in the outermost extent.
  ProbeTraining(Probe& probe, const Shape& features, Kernels& kernels);

  // Forward and gradients; these add to those of earlier calls since the last update, so that a step may be made of
  // several parts. The loss, times `weight`, adds to loss_sum(); logits stay until the next call.
  void accumulate(const Tensor& features, const Tensor& targets, float weight);
  void update(const SgdStep& sgd);
  // ranks[row]: see Kernels::label_ranks, of the last accumulate().
  void rank_labels(const int32_t* labels, int32_t* ranks);

  void reset_loss_sum();
  float loss_sum() const;  // waits for the device
  void store();            // copies the weights to the probe

  const Probe& probe() const { return probe_; }

 private:
  // The head with its loss for one batch size.
  struct Pass {
    Graph graph;
    int logits = -1, loss = -1;
    std::vector<Tap> taps;  // the parameters' nodes, in the order of names_
    std::unique_ptr<Executor> executor;
    std::unique_ptr<Propagator> propagator;
  };
  struct State {
    std::string name;
    Tensor gradient, velocity;
  };
  Pass& pass(int64_t batch);
  Tensor zeros(const Shape& shape);

  Probe& probe_;
  Shape features_;
  Kernels& kernels_;
  Parameters parameters_;
  std::vector<State> states_;
  std::map<int64_t, Pass> passes_;
  Tensor seed_, loss_sum_, logits_;
  Activations last_;
  bool has_gradient_ = false;
};

}  // namespace hp
