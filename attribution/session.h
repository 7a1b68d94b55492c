// Session: what an attribution method may use. One frozen backbone, several heads on its features; forward passes and
// reverse walks for all heads at once.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "probes/probe.h"
#include "runtime/fold.h"
#include "runtime/propagator.h"

namespace hp {

// Where a forward pass starts: at the image (RGB in [0, 1]), or at the normalised image, which Integrated Gradients
// scales.
enum class Start { image, model_input };

// The rules of a walk, under a name by which what is made for them is cached: equal names must mean equal composites.
// Heads are walked by the same rules without those for first ops.
struct WalkPlan {
  std::string name;
  Composite composite;
  std::vector<std::string> pins;  // backbone nodes whose own value is read, even where a ReLU would replace it
  // The lowest backbone node that will be walked to: no values are kept for walks below it. None: the whole backbone.
  std::string floor = {};
  // Lets heads pool in front of their last 1x1 convolution (runtime/pool_first.h): for plans under which both are their
  // vector-Jacobian products, and whose nodes in heads nobody looks at.
  bool pool_first = false;
  // Nobody but the rules reads the backbone's values, besides its features, the model input and the pins: what no rule
  // reads is not kept, and a convolution may add its shortcut on the way.
  bool lean = false;
};

// What one forward pass left behind, ready to be walked back. Valid until Session::clear().
class Pass {
 public:
  const Graph& graph() const {
    return backbone_.activations.graph();
  }  // of the backbone: "model_input", "features" ...
  const Activations& activations() const { return backbone_.activations; }
  const Activations& head(size_t index) const { return heads_[index].activations; }
  int64_t batch() const { return backbone_.activations.batch(); }

 private:
  friend class Session;
  Prepared backbone_;
  std::vector<Prepared> heads_;
  Propagator* backbone_walk_ = nullptr;
  std::vector<Propagator*> head_walks_;
};

// Rows. Targets are given as targets[t * batch + b]: a class of image b, the same for every head. Values per head,
// target and image lie in rows (head * targets + t) * batch + b.
class Session {
 public:
  // Takes the parameters as they are now. `kernels` must outlive the session. `walk_bytes` bounds the messages that a
  // walk holds at once: stacked targets beyond it are walked in chunks. Throws hp::Error if a head does not fit the
  // backbone's features.
  Session(const Folded& backbone, std::span<const Head> heads, Kernels& kernels, size_t walk_bytes = size_t{1} << 27);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  size_t head_count() const { return heads_.size(); }
  const std::string& head_name(size_t head) const { return heads_[head].name; }
  int64_t classes(size_t head) const;
  Context context() { return {kernels_, pool_}; }
  const Graph& backbone() const { return backbone_; }
  const Parameters& parameters() const { return parameters_; }
  // Nodes whose batch norm was folded into them, with the name of the bias that this left (runtime/fold.h).
  const std::map<std::string, std::string>& folded_bias() const { return bias_of_; }

  // Runs the backbone once and every head on its features. `input`: [batch, height, width, channels] on the device.
  Pass forward(const Tensor& input, const WalkPlan& plan, Start start = Start::image);

  std::vector<float> logits(const Pass& pass, size_t head);  // [batch, classes], on the host
  // Of the targets, one per row.
  std::vector<float> target_logits(const Pass& pass, std::span<const int> targets);

  // Multipliers `seeds` (one per row; none means 1) enter at the targets' logits; the heads' messages are stacked at
  // `features` and the backbone is walked back once. Taps are nodes of pass.graph(), at or below "features".
  RelevanceTrace walk(const Pass& pass, std::span<const int> targets, std::span<const float> seeds,
                      std::span<const Tap> taps);

  // The first part of a walk by itself: from the targets' logits of one head to its features. Taps are nodes of
  // pass.head(head).graph(); `seeds` are those of this head.
  RelevanceTrace walk_head(const Pass& pass, size_t head, std::span<const int> targets, std::span<const float> seeds,
                           std::span<const Tap> taps);

  // The relevance that a message of `node` means: M * value, or R as it is. [rows, ...]
  Tensor relevance(const Pass& pass, int node, const Message& message);

  // Drops the graphs and device memory of all shapes seen so far; every Pass becomes invalid, tensors stay.
  void clear();
  size_t shapes_cached() const { return networks_.size(); }
  // Device memory held for all that: passes, messages, maps; not the parameters.
  size_t bytes();

 private:
  struct SessionHead {
    std::string name;
    Graph graph;
    Parameters parameters;
  };
  struct Network;  // the graphs of one input shape, with their executors and propagators
  Network& network(Start start, const Shape& input);
  void check_targets(const Pass& pass, std::span<const int> targets) const;
  Tensor head_message(const Pass& pass, size_t head, std::span<const int> targets, std::span<const float> seeds,
                      const Tensor& into);

  Graph backbone_, behind_model_input_;
  Parameters parameters_;
  std::map<std::string, std::string> bias_of_;
  std::vector<SessionHead> heads_;
  Kernels& kernels_;
  ArenaPool pool_;
  size_t walk_bytes_;
  std::map<std::string, std::unique_ptr<Network>> networks_;  // by start and shape
};

}  // namespace hp
