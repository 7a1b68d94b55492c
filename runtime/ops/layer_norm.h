// Norms with the statistics of the example itself: layer norm, per token or pixel, and group norm, per image.
// Ba et al., "Layer Normalization", 2016; Wu and He, "Group Normalization", 2018; uncentred forms: protocol.md 1.2.
#pragma once

#include "runtime/kernels.h"
#include "runtime/op.h"

namespace hp {

struct NormParams {
  float epsilon = 1e-5f;
  bool centred = true;  // false: the mean is not subtracted (the variance is still the one about the mean)
  int64_t groups = 1;   // of channels; for GroupNormOp
};

// Inputs: x [..., channels], optionally weight [channels], optionally bias [channels]:
// y = (x - mean) / sqrt(variance + epsilon) * weight + bias, uncentred x / sqrt(variance + epsilon) * weight + bias.
// Saved: the statistics, [2, groups of all images]: mean and 1 / sqrt(variance + epsilon).
class ExampleNormOp : public Op {
 public:
  const NormParams& params() const { return params_; }

  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  Saved saved(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int which) const override { return which == 0 ? Role::data : which == 1 ? Role::weight : Role::bias; }

  // dx with the standard deviation taken as a constant, the mean not (attribution.md E.2, F.5).
  void detached_vjp(Context, const Values&, const Tensor& dy, int targets, Tensor dx) const;

 protected:
  explicit ExampleNormOp(NormParams params) : params_(params) {}

 private:
  virtual GroupNorm geometry(const Shape& x) const = 0;
  NormParams params_;
};

// Statistics over the last axis alone: of tokens [batch, tokens, channels], or of the pixels of a map (position norm).
class LayerNormOp final : public ExampleNormOp {
 public:
  explicit LayerNormOp(NormParams params = {}) : ExampleNormOp(params) {}
  OpKind kind() const override { return OpKind::layer_norm; }

 private:
  GroupNorm geometry(const Shape& x) const override;
};

// Statistics over all positions of an image and channels/groups channels: x [batch, ..., channels].
class GroupNormOp final : public ExampleNormOp {
 public:
  explicit GroupNormOp(NormParams params = {}) : ExampleNormOp(params) {}
  OpKind kind() const override { return OpKind::group_norm; }

 private:
  GroupNorm geometry(const Shape& x) const override;
};

}  // namespace hp
