// Conv2dOp and LinearOp: the weighted ops. y = x * w (+ bias), with w a value of the graph: a parameter or any node.
#pragma once

#include "runtime/op.h"

namespace hp {

// Inputs: x [batch, height, width, channels], w [filters, channels/groups, kernel, kernel], optionally bias [filters].
class Conv2dOp final : public Op {
 public:
  struct Params {
    int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
    bool fast = false, smooth = false;  // as in Conv2d
  };
  explicit Conv2dOp(Params params) : params_(params) {}
  const Params& params() const { return params_; }

  OpKind kind() const override { return OpKind::conv2d; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  Role role(int which) const override { return which == 0 ? Role::data : which == 1 ? Role::weight : Role::bias; }
  bool linear_in(int which) const override { return which == 0; }
  bool fuses_addend() const override { return true; }
  bool fuses_relu() const override { return true; }
  bool fuses_activation() const override { return true; }
  int64_t flops(std::span<const Shape> in) const override;

 private:
  Conv2d geometry(const Shape& x, const Shape& w) const;
  Params params_;
};

// Inputs: x [..., in], w [out, in], optionally bias [out]; y [..., out]. Runs as a 1x1 convolution, whose result does
// not depend on the number of rows.
class LinearOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::linear; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  Role role(int which) const override { return which == 0 ? Role::data : which == 1 ? Role::weight : Role::bias; }
  bool linear_in(int which) const override { return which == 0; }
  bool fuses_addend() const override { return true; }
  bool fuses_relu() const override { return true; }
  bool fuses_activation() const override { return true; }
  int64_t flops(std::span<const Shape> in) const override;
};

}  // namespace hp
