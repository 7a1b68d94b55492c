// LinearNode: a node whose op is linear in its data, evaluated with parts of its data and functions of its weights.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/rule.h"

namespace hp {

// A modified copy of the op: part(x) instead of x (Gate::sign stands for |x|), and functions of weight and bias.
struct ModifiedCopy {
  Gate data = Gate::all;
  Derivation weight = derive::identity;
  Derivation bias = derive::identity;
};

namespace derive {
inline constexpr Derivation zero{Derivation::Kind::blend, 0, 0};
}

// Knows nothing of particular ops: data, weights and biases are told apart by Op::role. Lives for one call of a rule.
class LinearNode {
 public:
  explicit LinearNode(const NodeView& view);

  const NodeView& view() const { return view_; }
  Kernels& kernels() const { return view_.context.kernels; }
  Tensor scratch(const Shape& shape) const { return view_.context.scratch.take(shape); }

  bool nonnegative() const;                         // all data are >= 0 whatever the image
  Tensor output() const { return view_.output(); }  // z; max(z, 0) where the ReLU behind shares the value

  Tensor forward(const ModifiedCopy& copy);  // new scratch, of the output's shape
  Tensor without_bias(const Tensor& z);      // z less what the op gives for x = 0; `z` itself if that is nothing
  // The op at x[..., c] = values[c] for a batch of 1, without bias. Kept with the weight until that changes; `key` says
  // what is computed.
  Tensor constant(const std::string& key, const std::vector<std::pair<std::vector<float>, Derivation>>& copies);
  Tensor derived_bias(const Derivation&);  // empty without a bias

  // in = adjoint of the op's input `which`, with a function of the weight, applied to a message of `targets` targets.
  void adjoint(const Tensor& message, int targets, int which, const Derivation& weight, Tensor in);

 private:
  Operand derived(int which, const Derivation& derivation);
  Tensor part(const Tensor& x, Gate gate) const;
  Tensor data_like(const Shape& shape, const std::vector<float>& values) const;
  Tensor evaluate_constant(const std::vector<std::pair<std::vector<float>, Derivation>>& copies);

  const NodeView& view_;
  std::vector<Operand> inputs_;
  std::vector<std::unique_ptr<Weight>> temporaries_;  // of weights that no parameter stands behind
};

}  // namespace hp
