#include "runtime/ops/loss.h"

#include "runtime/error.h"

namespace hp {

LossOp::LossOp(OpKind kind) : kind_(kind) {
  require(kind == OpKind::cross_entropy || kind == OpKind::binary_cross_entropy,
          "[loss] not a loss; got {}; expected "
          "cross_entropy or binary_cross_entropy",
          name_of(kind));
}

Shape LossOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 && in[0].rank() == 2 && in[0] == in[1] && in[0].count() > 0,
          "[{}] logits and targets must be equal and not empty; got {} and {}; expected [batch, classes]",
          name_of(kind_), in.empty() ? "none" : in[0].str(), in.size() < 2 ? "none" : in[1].str());
  return {1};
}

Saved LossOp::saved(std::span<const Shape> in) const { return {in[0], DType::float32, false}; }

void LossOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const {
  const Rows rows{in[0].tensor.shape()[0], in[0].tensor.shape()[1]};
  const bool binary = kind_ == OpKind::binary_cross_entropy;
  const float scale = 1.0f / static_cast<float>(binary ? rows.count() : rows.rows);
  Tensor losses = context.scratch.take(Shape{rows.rows});
  if (binary) {
    context.kernels.binary_cross_entropy(rows, in[0].data(), in[1].data(), scale, losses.floats(), saved.floats());
  } else {
    context.kernels.cross_entropy(rows, in[0].data(), in[1].data(), scale, losses.floats(), saved.floats());
  }
  context.kernels.row_dots({1, rows.rows}, 1, nullptr, losses.floats(), out.floats());
  context.kernels.scale_add(1, scale, out.floats(), 0, out.floats());
}

void LossOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which, Tensor dx) const {
  require(targets == 1, "[{}] a loss has one gradient; got {} targets; expected 1", name_of(kind_), targets);
  if (which == 1) return context.kernels.fill(dx.count(), 0, dx.floats());
  context.kernels.combine(Binary::multiply, dx.count(), 1, v.saved.floats(), dy.floats(), dx.floats());
}

}  // namespace hp
