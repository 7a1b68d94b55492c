// Executor: runs a graph forward. Activations: what one such pass left behind.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "runtime/graph.h"
#include "runtime/parameters.h"
#include "runtime/plan.h"

namespace hp {

// Values of one forward pass, in an arena of their own: a later pass leaves them alone. Copies share the arena.
class Activations {
 public:
  const Graph& graph() const { return *graph_; }
  int64_t batch() const;                   // outermost extent of the first input
  const Operand& operand(int node) const;  // throws hp::Error if the plan did not keep the value
  bool kept(int node) const { return plan_->holder(node) >= 0 && plan_->readable(node); }
  const Tensor& value(int node) const { return operand(node).tensor; }
  const Tensor& saved(int node) const { return saved_[static_cast<size_t>(node)]; }
  std::vector<Operand> inputs(int node) const;  // the operands of a node
  // True where the value of a node was replaced by that of the ReLU behind it (see Plan).
  bool is_after_relu(int node) const { return plan_->holder(node) != node; }
  int floor() const { return plan_->floor(); }  // the lowest node that a walk may go to

 private:
  friend class Executor;
  const Graph* graph_ = nullptr;
  std::shared_ptr<const Plan> plan_;
  std::vector<Operand> operands_;
  std::vector<Tensor> saved_;
};

// The graph, the parameters and the kernels must outlive the executor. Values that come from parameters alone are
// computed when their parameters change, not per pass. After a first pass nothing is allocated as long as no more than
// the same number of Activations lives.
class Executor {
 public:
  // `floor`: the lowest node that walks will go to; `unread`: values that they do not read (runtime/plan.h).
  Executor(const Graph& graph, const Parameters& parameters, Kernels& kernels, Keep keep, std::vector<int> pinned = {},
           int floor = 0, std::vector<bool> unread = {});

  // `inputs` in the order of Graph::inputs(), on the kernels' device, float32.
  Activations run(std::span<const Tensor> inputs);
  Activations run(const Tensor& input) { return run(std::span<const Tensor>(&input, 1)); }

  const Graph& graph() const { return graph_; }
  Kernels& kernels() const { return kernels_; }
  const Plan& plan() const { return *plan_; }
  Context context() { return {kernels_, pool_}; }

 private:
  struct Constant {
    Weight weight;
    uint64_t version = 0;  // sum of the versions of the parameters below it, when it was computed
  };
  void update_constants(std::vector<Operand>& operands);
  void run_step(const Step& step, Activations& activations, const std::shared_ptr<Storage>& arena);

  const Graph& graph_;
  const Parameters& parameters_;
  Kernels& kernels_;
  ArenaPool pool_;
  std::shared_ptr<const Plan> plan_;
  std::map<int, Constant> constants_;
};

}  // namespace hp
