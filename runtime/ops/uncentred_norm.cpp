#include "runtime/ops/uncentred_norm.h"

#include "runtime/error.h"

namespace hp {

namespace {

// x as rows with a column for each weight.
Rows rows_for(const Tensor& x, const Operand& weight) {
  const int64_t columns = weight.tensor.count();
  return {x.count() / columns, columns};
}

bool fits(const Shape& parameter, const Shape& x) { return parameter == Shape{x.columns()} || parameter == Shape{1}; }

// The kernels of batch norm with a mean of 0.
Tensor no_mean(Context context, int64_t columns) {
  Tensor zeros = context.scratch.take(Shape{columns});
  context.kernels.fill(columns, 0, zeros.floats());
  return zeros;
}

// A diagonal matrix, which is its own adjoint.
void normalise(Context context, float epsilon, const Tensor& x, const float* variance, const Operand& weight,
               Tensor out) {
  context.kernels.batch_norm_vjp(rows_for(x, weight), 1, epsilon, variance, weight.data(), x.floats(), out.floats());
}

// The gradients of variance (row 1 of the kernel's) or weight (row 2).
void parameter_vjp(Context context, float epsilon, const Tensor& x, const float* variance, const Operand& weight,
                   const Tensor& dy, int64_t row, float* d) {
  const Rows rows = rows_for(x, weight);
  const Tensor mean = no_mean(context, rows.columns), all = context.scratch.take(Shape{4, rows.columns});
  context.kernels.batch_norm_parameter_vjp(rows, epsilon, x.floats(), mean.floats(), variance, weight.data(),
                                           dy.floats(), all.floats());
  context.kernels.copy(all.floats() + row * rows.columns, static_cast<size_t>(rows.columns) * sizeof(float), d);
}

}  // namespace

Shape UncentredNormOp::infer(std::span<const Shape> in) const {
  require(in.size() == 3, "[uncentred_norm] wrong number of inputs; got {}; expected x, variance, weight", in.size());
  require(fits(in[1], in[0]) && in[2] == in[1],
          "[uncentred_norm] variance or weight do not fit x {}; got {} and {}; expected [{}] or [1]", in[0].str(),
          in[1].str(), in[2].str(), in[0].columns());
  return in[0];
}

void UncentredNormOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  normalise(context, epsilon_, in[0].tensor, in[1].data(), in[2], out);
}

void UncentredNormOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which, Tensor dx) const {
  const Operand& weight = v.inputs[2];
  const float* variance = v.inputs[1].data();
  if (which == 0) {
    context.kernels.batch_norm_vjp(rows_for(v.output, weight), targets, epsilon_, variance, weight.data(), dy.floats(),
                                   dx.floats());
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
  require(fits(in[1], in[0]), "[uncentred_norm_train] weight does not fit x {}; got {}; expected [{}] or [1]",
          in[0].str(), in[1].str(), in[0].columns());
  return in[0];
}

Saved UncentredNormTrainOp::saved(std::span<const Shape> in) const {
  return {.shape = {2, in[1].count()}, .dtype = DType::float32, .none = false};
}

void UncentredNormTrainOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out,
                                   Tensor saved) const {
  const Rows rows = rows_for(out, in[1]);
  context.kernels.column_statistics(rows, in[0].data(), saved.floats());
  normalise(context, epsilon_, in[0].tensor, saved.floats() + rows.columns, in[1], out);
}

// dx = dy weight / sqrt(variance + epsilon), and what comes through the variance.
void UncentredNormTrainOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which,
                               Tensor dx) const {
  require(targets == 1, "[uncentred_norm_train] statistics of the batch have one gradient; got {} targets; expected 1",
          targets);
  const Tensor& x = v.inputs[0].tensor;
  const Operand& weight = v.inputs[1];
  const Rows rows = rows_for(x, weight);
  const float* variance = v.saved.floats() + rows.columns;
  if (which == 1) return parameter_vjp(context, epsilon_, x, variance, weight, dy, 2, dx.floats());
  const Tensor statistics = context.scratch.take(Shape{2, rows.columns}), through = context.scratch.take(x.shape());
  context.kernels.fill(rows.columns, 0, statistics.floats());
  parameter_vjp(context, epsilon_, x, variance, weight, dy, 1, statistics.floats() + rows.columns);
  context.kernels.column_statistics_vjp(rows, x.floats(), v.saved.floats(), statistics.floats(), through.floats());
  context.kernels.batch_norm_vjp(rows, 1, epsilon_, variance, weight.data(), dy.floats(), dx.floats());
  context.kernels.scale_add(dx.count(), 1, through.floats(), 1, dx.floats());
}

}  // namespace hp
