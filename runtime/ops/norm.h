// Batch normalisation: with given statistics (eval), with the batch's own (training), and the latter as two nodes,
// statistics and normalisation.
// Ioffe and Szegedy, "Batch Normalization", 2015: y = (x - mean) / sqrt(variance + epsilon) * weight + bias, per
// channel.
#pragma once

#include "runtime/op.h"

namespace hp {

// Inputs: x [..., channels], mean [channels], variance [channels], optionally weight and bias [channels] (both or
// none). Without weight and bias it is also the input normalisation (x - mean) / std, with epsilon 0.
class BatchNormOp final : public Op {
 public:
  explicit BatchNormOp(float epsilon) : epsilon_(epsilon) {}
  float epsilon() const { return epsilon_; }

  OpKind kind() const override { return OpKind::batch_norm; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  Role role(int which) const override;
  bool linear_in(int which) const override { return which == 0; }

 private:
  float epsilon_;
};

// Inputs: x [..., channels], weight and bias [channels]; the statistics are those of x itself, and gradients go through
// them. Saved: the statistics, [2, channels], mean and biased variance, from which a trainer updates running values.
// `relu`: max(0, .) of it, whose gradient takes the same pass.
class BatchNormTrainOp final : public Op {
 public:
  explicit BatchNormTrainOp(float epsilon, bool relu = false) : epsilon_(epsilon), relu_(relu) {}

  OpKind kind() const override { return OpKind::batch_norm_train; }
  std::string describe() const override { return relu_ ? "batch_norm_train relu" : "batch_norm_train"; }
  Shape infer(std::span<const Shape> in) const override;
  Saved saved(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  bool vjps_together() const override { return true; }
  void vjps(Context, const Values&, const Tensor& dy, std::span<const Tensor> dx) const override;
  Role role(int which) const override;
  bool nonnegative(bool) const override { return relu_; }
  bool fuses_relu() const override { return true; }

 private:
  float epsilon_;
  bool relu_;
};

// Input: x [..., channels]; output [2, channels]: mean and biased variance over everything but the channels. A node of
// its own, so that a synchronised batch norm can put its sum over workers between it and BatchNormaliseOp.
class BatchStatisticsOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::batch_statistics; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
};

// Inputs: x [..., channels], statistics [2, channels] of BatchStatisticsOp, weight and bias [channels].
class BatchNormaliseOp final : public Op {
 public:
  explicit BatchNormaliseOp(float epsilon) : epsilon_(epsilon) {}

  OpKind kind() const override { return OpKind::batch_normalise; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int which) const override;

 private:
  float epsilon_;
};

}  // namespace hp
