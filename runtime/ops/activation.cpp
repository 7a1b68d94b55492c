#include "runtime/ops/activation.h"

#include "runtime/error.h"
#include "runtime/ops/rows.h"

namespace hp {

namespace {

Shape same_as_input(std::span<const Shape> in, std::string_view op) {
  require(in.size() == 1, "[{}] wrong number of inputs; got {}; expected 1", op, in.size());
  return in[0];
}

Function function_of(OpKind kind) {
  switch (kind) {
    case OpKind::relu:
      return Function::relu;
    case OpKind::sigmoid:
      return Function::sigmoid;
    case OpKind::tanh:
      return Function::tanh;
    case OpKind::gelu:
      return Function::gelu;
    case OpKind::gelu_tanh:
      return Function::gelu_tanh;
    case OpKind::quick_gelu:
      return Function::quick_gelu;
    case OpKind::silu:
      return Function::silu;
    default:
      fail("[activation] not an activation; got {}; expected relu, sigmoid, tanh, gelu, gelu_tanh, quick_gelu or silu",
           name_of(kind));
  }
}

}  // namespace

ActivationOp::ActivationOp(OpKind kind) : kind_(kind), function_(function_of(kind)) {}

Shape ActivationOp::infer(std::span<const Shape> in) const { return same_as_input(in, name_of(kind_)); }

void ActivationOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.apply(function_, out.count(), in[0].data(), out.floats());
}

void ActivationOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int, Tensor dx) const {
  const float *x = v.inputs[0].data(), *y = v.output.floats();
  context.kernels.apply_vjp(function_, v.output.count(), targets, x ? x : y, y, dy.floats(), dx.floats());
}

bool ActivationOp::nonnegative(bool inputs_nonnegative) const {
  return kind_ == OpKind::relu || kind_ == OpKind::sigmoid || inputs_nonnegative;
}

std::string AffineOp::describe() const { return fmt::format("affine {}x{:+}", scale_, shift_); }

Shape AffineOp::infer(std::span<const Shape> in) const { return same_as_input(in, "affine"); }

void AffineOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  if (shift_ == 0) return context.kernels.scale_add(out.count(), scale_, in[0].data(), 0, out.floats());
  context.kernels.fill(out.count(), shift_, out.floats());
  context.kernels.scale_add(out.count(), scale_, in[0].data(), 1, out.floats());
}

void AffineOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  context.kernels.scale_add(dx.count(), scale_, dy.floats(), 0, dx.floats());
}

Shape SoftmaxOp::infer(std::span<const Shape> in) const { return same_as_input(in, name_of(kind())); }

void SoftmaxOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  if (logarithm_) {
    context.kernels.log_softmax(rows_of(out), in[0].data(), out.floats());
  } else {
    context.kernels.softmax(rows_of(out), in[0].data(), out.floats());
  }
}

void SoftmaxOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int, Tensor dx) const {
  if (logarithm_) {
    context.kernels.log_softmax_vjp(rows_of(v.output), targets, v.output.floats(), dy.floats(), dx.floats());
  } else {
    context.kernels.softmax_vjp(rows_of(v.output), targets, v.output.floats(), dy.floats(), dx.floats());
  }
}

Shape DetachOp::infer(std::span<const Shape> in) const { return same_as_input(in, "detach"); }

void DetachOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.copy(in[0].data(), out.bytes(), out.floats());
}

void DetachOp::vjp(Context context, const Values&, const Tensor&, int, int, Tensor dx) const {
  context.kernels.fill(dx.count(), 0, dx.floats());
}

}  // namespace hp
