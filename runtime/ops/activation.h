// Elementwise ops of one input, and softmax along the last axis.
#pragma once

#include "runtime/op.h"

namespace hp {

// relu, sigmoid, tanh, gelu, gelu_tanh, quick_gelu or silu; formulas: Function in runtime/kernels.h.
class ActivationOp final : public Op {
 public:
  explicit ActivationOp(OpKind kind);  // throws unless the kind is one of them
  OpKind kind() const override { return kind_; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return kind_ == OpKind::relu ? Reads::output : Reads::everything; }
  bool nonnegative(bool inputs_nonnegative) const override;
  Function function() const { return function_; }

 private:
  OpKind kind_;
  Function function_;
};

// y = scale x + shift with two constants: [x, 1 - x] inputs, logit temperature and constant.
class AffineOp final : public Op {
 public:
  AffineOp(float scale, float shift) : scale_(scale), shift_(shift) {}
  float scale() const { return scale_; }
  float shift() const { return shift_; }
  OpKind kind() const override { return OpKind::affine; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool linear_in(int) const override { return true; }

 private:
  float scale_, shift_;
};

// softmax or log_softmax along the last axis.
class SoftmaxOp final : public Op {
 public:
  explicit SoftmaxOp(bool logarithm) : logarithm_(logarithm) {}
  OpKind kind() const override { return logarithm_ ? OpKind::log_softmax : OpKind::softmax; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::output; }
  bool nonnegative(bool) const override { return !logarithm_; }

 private:
  bool logarithm_;
};

// y = x; no message passes (stop-gradient).
class DetachOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::detach; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }
};

}  // namespace hp
