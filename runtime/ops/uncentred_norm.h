// Uncentred batch norm of B-cos networks: y = x / sqrt(variance + epsilon) * weight per channel, without a bias. The
// variance is the ordinary one, about the mean; the mean is never subtracted (protocol.md 1.2, Q34). Where variance and
// weight are [1] they are those of everything, all channels and the whole batch (AllNormUncentered2d): the same on x as
// one column.
#pragma once

#include "runtime/op.h"

namespace hp {

// Inputs: x [..., channels], variance and weight, both [channels] or both [1]: with given (running) statistics.
class UncentredNormOp final : public Op {
 public:
  explicit UncentredNormOp(float epsilon) : epsilon_(epsilon) {}
  float epsilon() const { return epsilon_; }

  OpKind kind() const override { return OpKind::uncentred_norm; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  Role role(int which) const override;
  bool linear_in(int which) const override { return which == 0; }

 private:
  float epsilon_;
};

// Inputs: x [..., channels], weight [channels] or [1]: in training. The variance is that of x itself, and the gradient
// goes through it. Saved: mean and biased variance, [2, channels] or [2, 1], from which a trainer updates running
// values; the reference keeps the biased variance.
class UncentredNormTrainOp final : public Op {
 public:
  explicit UncentredNormTrainOp(float epsilon) : epsilon_(epsilon) {}
  OpKind kind() const override { return OpKind::uncentred_norm_train; }
  Shape infer(std::span<const Shape> in) const override;
  Saved saved(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;

 private:
  float epsilon_;
};

}  // namespace hp
