// Uncentred batch norm of B-cos networks: y = x / sqrt(variance + epsilon) * weight per channel, without a bias. The
// variance is the ordinary one, about the mean; the mean is never subtracted (protocol.md 1.2, Q34).
#pragma once

#include "runtime/op.h"

namespace hp {

// Inputs: x [..., channels], variance [channels], weight [channels]: with given (running) statistics.
class UncentredNormOp final : public Op {
 public:
  explicit UncentredNormOp(float epsilon) : epsilon_(epsilon) {}
  OpKind kind() const override { return OpKind::uncentred_norm; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int which) const override;
  bool linear_in(int which) const override { return which == 0; }

 private:
  float epsilon_;
};

// Inputs: x [..., channels], statistics [2, channels] of BatchStatisticsOp, weight [channels]: in training.
class UncentredNormaliseOp final : public Op {
 public:
  explicit UncentredNormaliseOp(float epsilon) : epsilon_(epsilon) {}
  OpKind kind() const override { return OpKind::uncentred_normalise; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int which) const override { return which == 2 ? Role::weight : Role::data; }

 private:
  float epsilon_;
};

}  // namespace hp
