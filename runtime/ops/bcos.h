// The ops that a B-cos layer is made of (Boehle et al., "B-cos Networks", 2022; protocol.md 1.2). For a patch x and a
// filter w: u = x * w / |w|, n = |patch|, y = |u / n|^(B-1) u.
//
// A layer is five nodes instead of one, so that its parts are what they are for everybody else: the unit weights are a
// computed weight, the product is a conv2d or linear with every relevance rule, and freezing the scale, which turns the
// gradient into the explanation, is a rule at one node (attribution/rules/bcos_rules.h). No more bytes move than with
// one op behind a library convolution: the scale reads u and writes y either way, and the norms read x once.
#pragma once

#include "runtime/graph.h"
#include "runtime/ops/conv.h"

namespace hp {

// Input: w [filters, ...]; y = w / |w|_2 per filter. Without an epsilon, as in the reference: a filter of zeros is NaN.
class UnitNormOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::unit_norm; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
};

// Input: x [batch, height, width, channels]; output [batch, out_height, out_width, groups]: sqrt(sum of x^2 over the
// window and the channels of a group + inside) + outside. With a window of 1 any x [..., channels] will do.
class PatchNormOp final : public Op {
 public:
  struct Params {
    int64_t kernel_height = 1, kernel_width = 1;
    Conv2dOp::Params conv;
    float inside = 1e-6f, outside = 0;
  };
  explicit PatchNormOp(Params params) : params_(params) {}
  OpKind kind() const override { return OpKind::patch_norm; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  bool nonnegative(bool) const override { return true; }

 private:
  Conv2d geometry(const Shape& x) const;
  Params params_;
};

// Inputs: u [..., filters], n [..., groups] > 0. y = s u with s = |u| / n for B = 2, (|u| / n + 1e-6)^(B-1) otherwise.
class BcosScaleOp final : public Op {
 public:
  explicit BcosScaleOp(float b) : b_(b) {}
  float b() const { return b_; }

  OpKind kind() const override { return OpKind::bcos_scale; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::inputs; }
  Role role(int) const override { return Role::data; }
  bool fuses_addend() const override { return true; }

  // du = s dy: the adjoint of input 0 with the scale taken as a constant.
  void detached_vjp(Context, const Operand& u, const Operand& n, const Tensor& dy, int targets, Tensor du) const;

 private:
  float b_;
};

// Input: x [..., filters * units]; y [..., filters] = the largest of `units` consecutive channels (Goodfellow et al.,
// "Maxout Networks", 2013). Saved: its position; the first of equals wins.
class MaxOutOp final : public Op {
 public:
  explicit MaxOutOp(int64_t units) : units_(units) {}
  OpKind kind() const override { return OpKind::max_out; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  Saved saved(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Reads vjp_reads() const override { return Reads::nothing; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  int64_t units_;
};

struct BcosParams {
  float b = 2;  // 1 or more; 1 is the product alone
  int64_t max_out = 1;
  Conv2dOp::Params conv;
};

// Appends a whole layer; w [filters * max_out, channels/groups, kernel, kernel] is not normalised. The result is the
// node `name`; before it stand "<name>.unit_weight", "<name>.linear" (the product), "<name>.max_out" and "<name>.norm".
// The norm is sqrt(|patch|^2 + 1e-6), zero padding included. The product is smooth (Conv2d) unless a max-out follows.
Value add_bcos_conv2d(Graph& graph, Value x, Value w, const BcosParams& params, const std::string& name);
// The same for x [..., in] and w [out * max_out, in]; here the norm is |x|_2 + 1e-12. `params.conv` is not read.
Value add_bcos_linear(Graph& graph, Value x, Value w, const BcosParams& params, const std::string& name);

}  // namespace hp
