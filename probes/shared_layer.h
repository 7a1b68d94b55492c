// SharedLayer: the first layers of linear probes that read the same pooled features, side by side as one product, so
// that the features are read once for all of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "probes/optimizer.h"
#include "runtime/arena_pool.h"
#include "runtime/graph.h"
#include "runtime/parameters.h"

namespace hp {

class SharedLayer {
 public:
  // Whether a probe's graph is: features [batch, 1, 1, channels], a 1x1 convolution with weights of its own, and behind
  // it nothing that is trained; on a device where a filter's result has the same bits whatever stands beside it
  // (Conv2d::fast). Layers with so many filters that reading the features is a small part are left alone.
  static bool takes(const Graph& graph, const Kernels& kernels);

  SharedLayer(OptimizerSettings optimizer, Kernels& kernels);

  // Takes the first layer out of a graph that takes() agreed to, with its initial values in host memory. Returns what
  // is left, which reads the layer's result, and how the member is called from now on.
  struct Rest {
    Graph graph;
    size_t member = 0;
  };
  Rest add(const Graph& graph, const Parameters& initial);
  // Once, behind the last add().
  void start();

  // The layer's result for features [count, 1, 1, channels], of each member; then, from the gradients of each by that
  // result, those of the weights, which add to those of earlier calls since the last update.
  void forward(const Tensor& features);
  const Tensor& output(size_t member) const { return members_[member].output; }
  void set_gradient(size_t member, const Tensor& gradient);
  void backward();
  void update(size_t member, double learning_rate);  // nothing where no gradient was accumulated
  void updated();                                    // behind the last member's

  // As GraphTraining has them, of one member.
  void store(size_t member, Parameters& into) const;
  void add_state(size_t member, Parameters& state) const;
  void restore(size_t member, const Parameters& state);

 private:
  struct Member {
    std::string weight_name, bias_name;  // the latter empty if there is none
    Shape weight_shape;
    Tensor initial_weight, initial_bias;
    int64_t first = 0, filters = 0;
    Weight weight, bias;  // views of all members' values
    Tensor output, gradient, bias_gradient;
    std::unique_ptr<Optimizer> optimizer;
    std::vector<std::pair<std::string, Tensor>> tensors() const;  // everything that state files hold
  };
  Conv2d geometry() const;
  // Columns of all members' rows to one member's, or back.
  void move_columns(const Member& member, const float* from, float* to, bool to_member);

  OptimizerSettings settings_;
  Kernels& kernels_;
  ArenaPool pool_;
  std::vector<Member> members_;
  int64_t channels_ = 0, filters_ = 0;
  Weight weight_;  // [filters of all, channels]
  Tensor bias_, features_, gradient_, sums_, weight_gradient_;
  bool has_gradient_ = false;
};

}  // namespace hp
