#include "runtime/ops/norm.h"

#include "runtime/error.h"
#include "runtime/ops/rows.h"

namespace hp {

namespace {

void check_channels(std::span<const Shape> in, size_t first, std::string_view op) {
  for (size_t i = first; i < in.size(); ++i) {
    require(in[i] == Shape{in[0].columns()}, "[{}] input {} does not fit x {}; got {}; expected [{}]", op, i,
            in[0].str(), in[i].str(), in[0].columns());
  }
}

// Gradients of mean, variance, weight and bias come from one pass over x and dy; `part` says which rows of [4,
// channels] are wanted.
void parameter_vjp(Context context, float epsilon, const Tensor& x, const float* mean, const float* variance,
                   const float* weight, const Tensor& dy, int64_t part, Tensor dx) {
  const int64_t channels = x.shape().columns();
  Tensor all = context.scratch.take(Shape{4, channels});
  context.kernels.batch_norm_parameter_vjp(rows_of(x), epsilon, x.floats(), mean, variance, weight, dy.floats(),
                                           all.floats());
  context.kernels.copy(all.floats() + part * channels, dx.bytes(), dx.floats());
}

}  // namespace

Shape BatchNormOp::infer(std::span<const Shape> in) const {
  require(in.size() == 3 || in.size() == 5,
          "[batch_norm] wrong number of inputs; got {}; expected x, mean, variance and maybe "
          "weight and bias",
          in.size());
  check_channels(in, 1, "batch_norm");
  return in[0];
}

void BatchNormOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const bool affine = in.size() == 5;
  context.kernels.batch_norm(rows_of(out), epsilon_, in[0].data(), in[1].data(), in[2].data(),
                             affine ? in[3].data() : nullptr, affine ? in[4].data() : nullptr, out.floats());
}

void BatchNormOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which, Tensor dx) const {
  const float* weight = v.inputs.size() == 5 ? v.inputs[3].data() : nullptr;
  if (which == 0) {
    context.kernels.batch_norm_vjp(rows_of(v.output), targets, epsilon_, v.inputs[2].data(), weight, dy.floats(),
                                   dx.floats());
  } else {
    parameter_vjp(context, epsilon_, v.inputs[0].tensor, v.inputs[1].data(), v.inputs[2].data(), weight, dy, which - 1,
                  dx);
  }
}

Role BatchNormOp::role(int which) const {
  return which == 0 ? Role::data : which < 3 ? Role::statistics : which == 3 ? Role::weight : Role::bias;
}

Shape BatchNormTrainOp::infer(std::span<const Shape> in) const {
  require(in.size() == 3 && in[0].rows() > 0,
          "[batch_norm_train] wrong number of inputs, or none at all; got {}; expected x, weight and bias", in.size());
  check_channels(in, 1, "batch_norm_train");
  return in[0];
}

Saved BatchNormTrainOp::saved(std::span<const Shape> in) const { return {{2, in[0].columns()}, DType::float32, false}; }

void BatchNormTrainOp::forward(Context context, std::span<const Operand> in, const Fusion& fusion, Tensor out,
                               Tensor saved) const {
  context.kernels.batch_norm_train(rows_of(out), epsilon_, relu_ || fusion.activation.has_value(), in[0].data(),
                                   in[1].data(), in[2].data(), saved.floats(), out.floats());
}

void BatchNormTrainOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which,
                           Tensor dx) const {
  require(targets == 1, "[batch_norm_train] statistics of the batch have one gradient; got {} targets; expected 1",
          targets);
  Tensor wanted[3];
  wanted[which] = dx;
  vjps(context, v, dy, wanted);
}

void BatchNormTrainOp::vjps(Context context, const Values& v, const Tensor& dy, std::span<const Tensor> dx) const {
  const Tensor& x = v.inputs[0].tensor;
  const int64_t channels = x.shape().columns();
  const Tensor parameters = context.scratch.take(Shape{2, channels});
  context.kernels.batch_norm_train_vjp(rows_of(x), epsilon_, relu_, x.floats(), v.saved.floats(), v.inputs[1].data(),
                                       v.inputs[2].data(), dy.floats(), parameters.floats(),
                                       dx[0].empty() ? nullptr : dx[0].floats());
  for (size_t i = 1; i < 3; ++i) {
    if (dx[i].empty()) continue;
    context.kernels.copy(parameters.floats() + static_cast<int64_t>(i - 1) * channels, dx[i].bytes(), dx[i].floats());
  }
}

Role BatchNormTrainOp::role(int which) const {
  return which == 0 ? Role::data : which == 1 ? Role::weight : Role::bias;
}

Shape BatchStatisticsOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rows() > 0, "[batch_statistics] needs one non-empty input; got {}; expected x",
          in.empty() ? "none" : in[0].str());
  return {2, in[0].columns()};
}

void BatchStatisticsOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.column_statistics(rows_of(in[0].tensor), in[0].data(), out.floats());
}

void BatchStatisticsOp::vjp(Context context, const Values& v, const Tensor& dy, int, int, Tensor dx) const {
  const Tensor& x = v.inputs[0].tensor;
  context.kernels.column_statistics_vjp(rows_of(x), x.floats(), v.output.floats(), dy.floats(), dx.floats());
}

Shape BatchNormaliseOp::infer(std::span<const Shape> in) const {
  require(in.size() == 4, "[batch_normalise] wrong number of inputs; got {}; expected x, statistics, weight, bias",
          in.size());
  require(in[1] == Shape({2, in[0].columns()}),
          "[batch_normalise] statistics do not fit x {}; got {}; expected [2, {}]", in[0].str(), in[1].str(),
          in[0].columns());
  check_channels(in, 2, "batch_normalise");
  return in[0];
}

void BatchNormaliseOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const float* statistics = in[1].data();
  context.kernels.batch_norm(rows_of(out), epsilon_, in[0].data(), statistics, statistics + out.shape().columns(),
                             in[2].data(), in[3].data(), out.floats());
}

void BatchNormaliseOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which,
                           Tensor dx) const {
  const float* mean = v.inputs[1].data();
  const float* variance = mean + v.output.shape().columns();
  const float* weight = v.inputs[2].data();
  if (which == 0) {
    context.kernels.batch_norm_vjp(rows_of(v.output), targets, epsilon_, variance, weight, dy.floats(), dx.floats());
  } else {
    parameter_vjp(context, epsilon_, v.inputs[0].tensor, mean, variance, weight, dy, which == 1 ? 0 : which, dx);
  }
}

Role BatchNormaliseOp::role(int which) const {
  return which == 0 || which == 1 ? Role::data : which == 2 ? Role::weight : Role::bias;
}

}  // namespace hp
