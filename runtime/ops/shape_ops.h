// Ops that move values without changing them, and the two that join them: add, mul, concat, slice, pad, reshape.
#pragma once

#include "runtime/op.h"

namespace hp {

// y = a + b, equal shapes.
class AddOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::add; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  Role role(int) const override { return Role::data; }
  bool linear_in(int) const override { return true; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }
  bool fuses_relu() const override { return true; }
};

// y = a * b elementwise, equal shapes.
class MulOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::mul; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int) const override { return Role::data; }
  bool linear_in(int) const override { return true; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }
};

// Joins any number of values along an axis (not the batch axis).
class ConcatOp final : public Op {
 public:
  explicit ConcatOp(int axis) : axis_(axis) {}
  OpKind kind() const override { return OpKind::concat; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  Role role(int) const override { return Role::data; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  int axis_;
};

// y = x[..., begin : begin + step * count : step, ...] along an axis (not the batch axis).
class SliceOp final : public Op {
 public:
  struct Params {
    int axis = -1;
    int64_t begin = 0, step = 1, count = 0;  // count 0: as many as there are
  };
  explicit SliceOp(Params params) : params_(params) {}
  OpKind kind() const override { return OpKind::slice; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  Params params_;
};

// Zeros before and after along an axis (not the batch axis).
class PadOp final : public Op {
 public:
  struct Params {
    int axis = -1;
    int64_t before = 0, after = 0;
  };
  explicit PadOp(Params params) : params_(params) {}
  OpKind kind() const override { return OpKind::pad; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  Params params_;
};

// Same values in memory order, [batch, tail...]. An importer of another layout inserts a transpose before it.
class ReshapeOp final : public Op {
 public:
  explicit ReshapeOp(Shape tail) : tail_(tail) {}
  OpKind kind() const override { return OpKind::reshape; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  Shape tail_;
};

}  // namespace hp
