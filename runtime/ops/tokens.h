// Ops between feature maps and tokens [batch, tokens, channels], and those that say where a token lies.
// Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021.
#pragma once

#include "runtime/fitted.h"

namespace hp {

// Input: x [batch, height, width, channels]; y [batch, height/p, width/p, p*p*channels]: the patches as a map, each in
// the order row, column, channel (protocol.md 1.4).
class PatchifyOp final : public Op {
 public:
  explicit PatchifyOp(int64_t patch) : patch_(patch) {}
  OpKind kind() const override { return OpKind::patchify; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  int64_t patch_;
};

// Inputs: x [batch, tokens, channels], t [count, channels] or [1, count, channels], tokens of no image (a class token,
// registers); y [batch, count + tokens, channels]: t in front of every image's tokens.
class PrependOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::prepend; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int which) const override { return which == 0 ? Role::data : Role::bias; }
};

// Inputs: x [batch, ...], p of the shape of one image, with or without a leading 1; y = x + p for every image.
class PositionAddOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::position_add; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int which) const override { return which == 0 ? Role::data : Role::bias; }
  bool linear_in(int which) const override { return which == 0; }
};

// No input; y [height * width, channels], the fixed position embedding of protocol.md 1.4: with w_k =
// 10000^(-k / (channels/4 - 1)) the channels are sin(x w), cos(x w), sin(y w), cos(y w), x the column and y the row.
class SinCosOp final : public FittedOp {
 public:
  SinCosOp(int64_t height, int64_t width, int64_t channels) : height_(height), width_(width), channels_(channels) {}
  OpKind kind() const override { return OpKind::sin_cos; }
  OpPtr fitted(const Graph& graph) const override;  // the grid of its patches (runtime/ops/token_map.h)
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;

 private:
  int64_t height_, width_, channels_;
};

// Input: a parameter [extent, ...]; y = its elements begin ... begin + count - 1 along the first axis: one of the
// projections that a fused one is made of.
class RowsOp final : public Op {
 public:
  RowsOp(int64_t begin, int64_t count) : begin_(begin), count_(count) {}
  OpKind kind() const override { return OpKind::rows; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;

 private:
  int64_t begin_, count_;
};

}  // namespace hp
