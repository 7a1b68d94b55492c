#include "runtime/ops/layer_norm.h"

#include "runtime/error.h"
#include "runtime/ops/rows.h"

namespace hp {

namespace {

const float* norm_parameter(std::span<const Operand> in, size_t which) {
  return in.size() > which ? in[which].data() : nullptr;
}

}  // namespace

std::string ExampleNormOp::describe() const {
  std::string text(name_of(kind()));
  if (!params_.centred) text += " uncentred";
  if (params_.groups != 1) text += fmt::format(" of {} groups", params_.groups);
  return text;
}

Shape ExampleNormOp::infer(std::span<const Shape> in) const {
  require(!in.empty() && in.size() <= 3, "[{}] wrong number of inputs; got {}; expected x, maybe weight and maybe bias",
          name_of(kind()), in.size());
  require(in[0].rank() >= 1 && in[0].count() > 0, "[{}] x must not be empty; got {}; expected [..., channels]",
          name_of(kind()), in[0].str());
  for (size_t i = 1; i < in.size(); ++i) {
    require(in[i] == Shape{in[0].columns()}, "[{}] input {} does not fit x {}; got {}; expected [{}]", name_of(kind()),
            i, in[0].str(), in[i].str(), in[0].columns());
  }
  require(params_.groups >= 1 && in[0].columns() % params_.groups == 0,
          "[{}] groups do not divide the channels; got {} groups of {} channels; expected a divisor", name_of(kind()),
          params_.groups, in[0].columns());
  return in[0];
}

Saved ExampleNormOp::saved(std::span<const Shape> in) const {
  const GroupNorm g = geometry(in[0]);
  return {{2, g.batch * g.groups}, DType::float32, false};
}

void ExampleNormOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out,
                            Tensor saved) const {
  context.kernels.group_norm(geometry(out.shape()), in[0].data(), norm_parameter(in, 1), norm_parameter(in, 2),
                             saved.floats(), out.floats());
}

void ExampleNormOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which, Tensor dx) const {
  const Tensor& x = v.inputs[0].tensor;
  const GroupNorm g = geometry(x.shape());
  if (which == 0) {
    return context.kernels.group_norm_vjp(g, targets, false, x.floats(), v.saved.floats(), norm_parameter(v.inputs, 1),
                                          dy.floats(), dx.floats());
  }
  const Tensor both = context.scratch.take(Shape{2, g.channels});
  context.kernels.group_norm_parameter_vjp(g, x.floats(), v.saved.floats(), dy.floats(), both.floats());
  context.kernels.copy(both.floats() + (which - 1) * g.channels, dx.bytes(), dx.floats());
}

void ExampleNormOp::detached_vjp(Context context, const Values& v, const Tensor& dy, int targets, Tensor dx) const {
  const Tensor& x = v.inputs[0].tensor;
  context.kernels.group_norm_vjp(geometry(x.shape()), targets, true, x.floats(), v.saved.floats(),
                                 norm_parameter(v.inputs, 1), dy.floats(), dx.floats());
}

GroupNorm LayerNormOp::geometry(const Shape& x) const {
  return {.batch = x.rows(), .channels = x.columns(), .epsilon = params().epsilon, .centred = params().centred};
}

GroupNorm GroupNormOp::geometry(const Shape& x) const {
  return {.batch = x[0],
          .positions = x.rows() / x[0],
          .channels = x.columns(),
          .groups = params().groups,
          .epsilon = params().epsilon,
          .centred = params().centred};
}

}  // namespace hp
