#include "runtime/ops/uncentred_norm.h"

#include "runtime/error.h"
#include "runtime/ops/rows.h"

namespace hp {

namespace {

// The kernels of batch norm with a mean of 0.
Tensor no_mean(Context context, int64_t channels) {
  Tensor zeros = context.scratch.take(Shape{channels});
  context.kernels.fill(channels, 0, zeros.floats());
  return zeros;
}

void normalise(Context context, float epsilon, const Tensor& x, const float* variance, const float* weight,
               Tensor out) {
  const Tensor mean = no_mean(context, x.shape().columns());
  context.kernels.batch_norm(rows_of(x), epsilon, x.floats(), mean.floats(), variance, weight, nullptr, out.floats());
}

// The gradients of variance (row 1 of the kernel's) or weight (row 2).
void parameter_vjp(Context context, float epsilon, const Tensor& x, const float* variance, const float* weight,
                   const Tensor& dy, int64_t row, float* d) {
  const int64_t channels = x.shape().columns();
  const Tensor mean = no_mean(context, channels), all = context.scratch.take(Shape{4, channels});
  context.kernels.batch_norm_parameter_vjp(rows_of(x), epsilon, x.floats(), mean.floats(), variance, weight,
                                           dy.floats(), all.floats());
  context.kernels.copy(all.floats() + row * channels, static_cast<size_t>(channels) * sizeof(float), d);
}

}  // namespace

Shape UncentredNormOp::infer(std::span<const Shape> in) const {
  require(in.size() == 3, "[uncentred_norm] wrong number of inputs; got {}; expected x, variance, weight", in.size());
  const Shape channels{in[0].columns()};
  require(in[1] == channels && in[2] == channels,
          "[uncentred_norm] variance or weight do not fit x {}; got {} and {}; expected {}", in[0].str(), in[1].str(),
          in[2].str(), channels.str());
  return in[0];
}

void UncentredNormOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  normalise(context, epsilon_, in[0].tensor, in[1].data(), in[2].data(), out);
}

void UncentredNormOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which, Tensor dx) const {
  const float *variance = v.inputs[1].data(), *weight = v.inputs[2].data();
  if (which == 0) {
    context.kernels.batch_norm_vjp(rows_of(v.output), targets, epsilon_, variance, weight, dy.floats(), dx.floats());
  } else {
    parameter_vjp(context, epsilon_, v.inputs[0].tensor, variance, weight, dy, which, dx.floats());
  }
}

Role UncentredNormOp::role(int which) const {
  return which == 0 ? Role::data : which == 1 ? Role::statistics : Role::weight;
}

Shape UncentredNormTrainOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 && in[0].rows() > 0,
          "[uncentred_norm_train] wrong number of inputs, or an empty one; got {}; expected x and weight", in.size());
  require(in[1] == Shape{in[0].columns()}, "[uncentred_norm_train] weight does not fit x {}; got {}; expected [{}]",
          in[0].str(), in[1].str(), in[0].columns());
  return in[0];
}

Saved UncentredNormTrainOp::saved(std::span<const Shape> in) const {
  return {.shape = {2, in[0].columns()}, .dtype = DType::float32, .none = false};
}

void UncentredNormTrainOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out,
                                   Tensor saved) const {
  context.kernels.column_statistics(rows_of(out), in[0].data(), saved.floats());
  normalise(context, epsilon_, in[0].tensor, saved.floats() + out.shape().columns(), in[1].data(), out);
}

// dx = dy weight / sqrt(variance + epsilon), and what comes through the variance.
void UncentredNormTrainOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which,
                               Tensor dx) const {
  require(targets == 1, "[uncentred_norm_train] statistics of the batch have one gradient; got {} targets; expected 1",
          targets);
  const Tensor& x = v.inputs[0].tensor;
  const int64_t channels = x.shape().columns();
  const float *variance = v.saved.floats() + channels, *weight = v.inputs[1].data();
  if (which == 1) return parameter_vjp(context, epsilon_, x, variance, weight, dy, 2, dx.floats());
  const Tensor statistics = context.scratch.take(Shape{2, channels}), through = context.scratch.take(x.shape());
  context.kernels.fill(channels, 0, statistics.floats());
  parameter_vjp(context, epsilon_, x, variance, weight, dy, 1, statistics.floats() + channels);
  context.kernels.column_statistics_vjp(rows_of(x), x.floats(), v.saved.floats(), statistics.floats(),
                                        through.floats());
  context.kernels.batch_norm_vjp(rows_of(x), 1, epsilon_, variance, weight, dy.floats(), dx.floats());
  context.kernels.scale_add(dx.count(), 1, through.floats(), 1, dx.floats());
}

}  // namespace hp
