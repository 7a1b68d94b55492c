#include "runtime/ops/pool.h"

#include "runtime/error.h"

namespace hp {

namespace {

Pool2d geometry(const PoolParams& params, const Shape& x, int64_t batch) {
  const bool global = params.window == 0;
  return {.batch = batch,
          .height = x[1],
          .width = x[2],
          .channels = x[3],
          .window_height = global ? x[1] : params.window,
          .window_width = global ? x[2] : params.window,
          .stride = params.stride,
          .padding = params.padding};
}

Shape infer_pool(const PoolParams& params, std::span<const Shape> in, std::string_view op) {
  require(in.size() == 1 && in[0].rank() == 4,
          "[{}] needs one feature map; got {}; expected [batch, height, width, channels]", op,
          in.empty() ? "none" : in[0].str());
  const Pool2d g = geometry(params, in[0], in[0][0]);
  require(g.height + 2 * g.padding >= g.window_height && g.width + 2 * g.padding >= g.window_width &&
              g.window_height > g.padding,
          "[{}] window does not fit; got {} with padding {} on {}; expected a larger image", op, params.window,
          params.padding, in[0].str());
  return {g.batch, g.out_height(), g.out_width(), g.channels};
}

std::string describe_pool(std::string_view name, const PoolParams& params) {
  if (params.window == 0) return fmt::format("{} global", name);
  return fmt::format("{} {}x{}/{}", name, params.window, params.window, params.stride);
}

}  // namespace

std::string MaxPoolOp::describe() const { return describe_pool("max_pool", params_); }

Shape MaxPoolOp::infer(std::span<const Shape> in) const { return infer_pool(params_, in, "max_pool"); }

Saved MaxPoolOp::saved(std::span<const Shape> in) const { return {infer(in), DType::int32, false}; }

void MaxPoolOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const {
  const Shape& x = in[0].tensor.shape();
  context.kernels.max_pool(geometry(params_, x, x[0]), in[0].data(), out.floats(), saved.data<int32_t>());
}

void MaxPoolOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int, Tensor dx) const {
  const Shape& x = v.inputs[0].tensor.shape();
  context.kernels.max_pool_vjp(geometry(params_, x, x[0]), targets, v.saved.data<int32_t>(), dy.floats(), dx.floats());
}

std::string AvgPoolOp::describe() const { return describe_pool("avg_pool", params_); }

Shape AvgPoolOp::infer(std::span<const Shape> in) const { return infer_pool(params_, in, "avg_pool"); }

void AvgPoolOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const Shape& x = in[0].tensor.shape();
  context.kernels.avg_pool(geometry(params_, x, x[0]), in[0].data(), out.floats());
}

void AvgPoolOp::vjp(Context context, const Values& v, const Tensor& dy, int, int, Tensor dx) const {
  context.kernels.avg_pool_vjp(geometry(params_, v.inputs[0].tensor.shape(), dy.shape()[0]), dy.floats(), dx.floats());
}

Shape ResizeOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() == 4 && in[0].count() > 0,
          "[resize] needs one feature map; got {}; expected [batch, height, width, channels]",
          in.empty() ? "none" : in[0].str());
  return {in[0][0], height_, width_, in[0][3]};
}

void ResizeOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const Shape& x = in[0].tensor.shape();
  context.kernels.resize_bilinear({x[0], x[1], x[2], x[3], height_, width_}, in[0].data(), out.floats());
}

void ResizeOp::vjp(Context context, const Values& v, const Tensor& dy, int, int, Tensor dx) const {
  const Shape& x = v.inputs[0].tensor.shape();
  context.kernels.resize_bilinear_vjp({dy.shape()[0], x[1], x[2], x[3], height_, width_}, dy.floats(), dx.floats());
}

}  // namespace hp
