// LinearRule: what the relevance rules of linear ops have in common: a few ratios from the forward pass, and per
// message a few adjoints of modified copies of the op.
#pragma once

#include <string>
#include <vector>

#include "attribution/rules/linear_node.h"
#include "attribution/rules/linear_rules.h"

namespace hp::rules {

// One adjoint of a walk: M_in += part(x) / x * adjoint(M_out * ratio, function of the weight).
struct AdjointTerm {
  static constexpr int no_ratio = -1;  // the message as it comes
  int ratio = 0;                       // index of a prepared tensor
  Gate data = Gate::all;
  Derivation weight = derive::identity;
};

// What is known at a node without looking at an image: it decides which evaluation is exact.
struct LinearFacts {
  bool nonnegative = false;  // all data are >= 0 whatever the image
  bool rectified = false;    // the node's value is that of the ReLU behind it: then R = M * value = 0 where z <= 0
};

class LinearRule : public Rule {
 public:
  explicit LinearRule(const LinearOptions& options) : options_(options) {}
  Form takes() const override { return options_.form; }
  std::string objection(const Graph& graph, int node) const override;
  std::vector<Shape> prepared_shapes(const NodeView& view) const override;
  void prepare(const NodeView& view, std::span<Tensor> prepared) const override;
  void pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
            Tensor in) const override;
  Cost prepare_cost(const Graph& graph, int node) const override;
  Cost pull_cost(const Graph& graph, int node, int which, int targets) const override;

 protected:
  // The adjoints that each message takes.
  virtual std::vector<AdjointTerm> adjoints(const LinearFacts& facts) const = 0;
  // Tensors that are prepared: one per ratio, unless the rule has a cheaper way to them.
  virtual int prepared_count(const LinearFacts& facts) const;
  // How often make_ratios() runs the op; kept constants do not count.
  virtual int forward_runs(const LinearFacts&) const { return 0; }
  // Fills the ratios: numerator / stab(denominator), with the numerator z in multiplier form and 1 in relevance form.
  virtual void make_ratios(LinearNode& node, std::span<Tensor> ratios) const = 0;
  // into = message * ratio, where element i of the message belongs to element i mod n of the ratio.
  virtual void weigh(const LinearNode& node, std::span<const Tensor> prepared, int ratio, const Tensor& message,
                     Tensor into) const;
  // What the op must have besides data that it is linear in.
  enum class Needs { nothing, parameters, weight };
  virtual Needs needs() const { return Needs::weight; }

  const LinearOptions& options() const { return options_; }
  const float* numerator(const LinearNode& node) const;
  void stabilised(const LinearNode& node, const Tensor& denominator, Tensor ratio) const;
  Derivation bias(const Derivation& derivation) const { return options_.zero_bias ? derive::zero : derivation; }
  // ", zero bias)" and the like: what closes the rule's name.
  std::string named(const std::string& name, const std::string& arguments = "") const;

  LinearFacts facts(const Graph& graph, int node) const;

 private:
  LinearOptions options_;
};

LinearFacts facts_of(const LinearNode& node);

}  // namespace hp::rules
