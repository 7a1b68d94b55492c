// Max pooling, average pooling (global without a window), and bilinear resizing of feature maps [batch, height, width,
// channels].
#pragma once

#include "runtime/op.h"

namespace hp {

struct PoolParams {
  int64_t window = 0;  // 0: the whole map
  int64_t stride = 1, padding = 0;
};

// Padding counts as -infinity. Saved: the position of each maximum within its window; ties go to the first in row-major
// order.
class MaxPoolOp final : public Op {
 public:
  explicit MaxPoolOp(PoolParams params) : params_(params) {}
  OpKind kind() const override { return OpKind::max_pool; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  Saved saved(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  PoolParams params_;
};

// Padding counts as zeros that are part of the mean.
class AvgPoolOp final : public Op {
 public:
  explicit AvgPoolOp(PoolParams params = {}) : params_(params) {}
  const PoolParams& params() const { return params_; }
  OpKind kind() const override { return OpKind::avg_pool; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool linear_in(int) const override { return true; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  PoolParams params_;
};

// Half-pixel centres (align_corners = false), no antialiasing.
class ResizeOp final : public Op {
 public:
  ResizeOp(int64_t height, int64_t width) : height_(height), width_(width) {}
  OpKind kind() const override { return OpKind::resize; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool linear_in(int) const override { return true; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  int64_t height_, width_;
};

}  // namespace hp
