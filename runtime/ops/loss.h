// Losses against dense targets [batch, classes], as nodes whose output is one number.
#pragma once

#include "runtime/op.h"

namespace hp {

// Inputs: logits z [batch, classes], targets t [batch, classes]; output [1].
// cross entropy:         mean over the batch of sum_c t_c (log sum_k exp z_k - z_c)
// binary cross entropy:  mean over all batch * classes elements of softplus(z) - t z
// (protocol.md 3.3; UO-BCE is binary cross entropy with targets raised to at least 1/classes.)
// Saved: the gradient with respect to the logits. Targets get no gradient.
class LossOp final : public Op {
 public:
  explicit LossOp(OpKind kind);  // cross_entropy or binary_cross_entropy
  OpKind kind() const override { return kind_; }
  Shape infer(std::span<const Shape> in) const override;
  Saved saved(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int which) const override { return which == 0 ? Role::data : Role::statistics; }

 private:
  OpKind kind_;
};

}  // namespace hp
