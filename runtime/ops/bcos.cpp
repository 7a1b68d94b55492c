#include "runtime/ops/bcos.h"

#include <cmath>

#include "runtime/error.h"

namespace hp {

namespace {

Rows filters_of(const Tensor& w) { return {w.shape()[0], w.count() / w.shape()[0]}; }

// Every group of filters is a row of its own.
Rows scale_rows(const Tensor& u, const Tensor& n) { return {n.count(), u.count() / n.count()}; }

Pool2d units_as_windows(const Shape& y, int64_t units) {
  return {.batch = y.count(), .height = units, .width = 1, .channels = 1, .window_height = units, .window_width = 1};
}

Value add_scale(Graph& graph, Value u, Value x, const BcosParams& params, const PatchNormOp::Params& norm,
                const std::string& name) {
  require(params.b >= 1 && std::isfinite(params.b), "[bcos] '{}': B out of range; got {}; expected 1 or more", name,
          params.b);
  if (params.max_out > 1) u = graph.add(std::make_shared<MaxOutOp>(params.max_out), {u}, name + ".max_out");
  if (params.b == 1) {
    graph.alias(name, u);
    return u;
  }
  const Value n = graph.add(std::make_shared<PatchNormOp>(norm), {x}, name + ".norm");
  return graph.add(std::make_shared<BcosScaleOp>(params.b), {u, n}, name);
}

}  // namespace

Shape UnitNormOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() >= 1 && in[0].count() > 0,
          "[unit_norm] needs one weight; got {}; expected [filters, ...]", in.empty() ? "none" : in[0].str());
  return in[0];
}

void UnitNormOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.unit_rows(filters_of(out), in[0].data(), out.floats());
}

void UnitNormOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int, Tensor dx) const {
  context.kernels.unit_rows_vjp(filters_of(v.output), targets, v.inputs[0].data(), dy.floats(), dx.floats());
}

std::string PatchNormOp::describe() const {
  return fmt::format("patch_norm {}x{}", params_.kernel_height, params_.kernel_width);
}

Conv2d PatchNormOp::geometry(const Shape& x) const {
  const bool map = x.rank() == 4;
  return {.batch = map ? x[0] : 1,
          .height = map ? x[1] : x.rows(),
          .width = map ? x[2] : 1,
          .channels = x[-1],
          .kernel_height = params_.kernel_height,
          .kernel_width = params_.kernel_width,
          .stride = params_.conv.stride,
          .padding = params_.conv.padding,
          .dilation = params_.conv.dilation,
          .groups = params_.conv.groups};
}

Shape PatchNormOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() >= 1, "[patch_norm] wrong number of inputs; got {}; expected x", in.size());
  const Shape& x = in[0];
  require(x[-1] % params_.conv.groups == 0, "[patch_norm] groups do not divide the channels; got {} groups of {}",
          params_.conv.groups, x[-1]);
  const Conv2d g = geometry(x);
  const bool pointwise = g.kernel_height == 1 && g.kernel_width == 1 && g.stride == 1 && g.padding == 0;
  if (pointwise) return x.with(-1, g.groups);
  require(x.rank() == 4 && g.out_height() > 0 && g.out_width() > 0,
          "[patch_norm] x does not fit the window; got {}; expected [batch, height, width, channels], padded to at "
          "least {}x{}",
          x.str(), g.kernel_height, g.kernel_width);
  return {g.batch, g.out_height(), g.out_width(), g.groups};
}

void PatchNormOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.patch_norms(geometry(in[0].tensor.shape()), params_.inside, params_.outside, in[0].data(),
                              out.floats());
}

void PatchNormOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int, Tensor dx) const {
  context.kernels.patch_norms_vjp(geometry(v.inputs[0].tensor.shape()), targets, params_.outside, v.inputs[0].data(),
                                  v.output.floats(), dy.floats(), dx.floats());
}

std::string BcosScaleOp::describe() const { return fmt::format("bcos_scale B={}", b_); }

Shape BcosScaleOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2, "[bcos_scale] wrong number of inputs; got {}; expected the product and the norms", in.size());
  const Shape &u = in[0], &n = in[1];
  require(u.rank() >= 1 && n.rank() == u.rank() && n.rows() == u.rows() && n[-1] > 0 && u[-1] % n[-1] == 0,
          "[bcos_scale] norms do not fit the product {}; got {}; expected [..., groups] at the same positions", u.str(),
          n.str());
  return u;
}

void BcosScaleOp::forward(Context context, std::span<const Operand> in, const Fusion& fusion, Tensor out,
                          Tensor) const {
  context.kernels.bcos_scale(scale_rows(out, in[1].tensor), 1, b_ - 1, in[0].data(), in[1].data(), in[0].data(),
                             fusion.addend, out.floats());
}

void BcosScaleOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which, Tensor dx) const {
  const Tensor &u = v.inputs[0].tensor, &n = v.inputs[1].tensor;
  auto adjoint = which == 0 ? &Kernels::bcos_scale_vjp : &Kernels::bcos_norm_vjp;
  (context.kernels.*adjoint)(scale_rows(u, n), targets, b_ - 1, u.floats(), n.floats(), dy.floats(), dx.floats());
}

void BcosScaleOp::detached_vjp(Context context, const Operand& u, const Operand& n, const Tensor& dy, int targets,
                               Tensor du) const {
  context.kernels.bcos_scale(scale_rows(u.tensor, n.tensor), targets, b_ - 1, u.data(), n.data(), dy.floats(), nullptr,
                             du.floats());
}

std::string MaxOutOp::describe() const { return fmt::format("max_out {}", units_); }

Shape MaxOutOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() >= 1 && units_ >= 1 && in[0][-1] % units_ == 0,
          "[max_out] units do not divide the channels; got {} for {} units", in.empty() ? "none" : in[0].str(), units_);
  return in[0].with(-1, in[0][-1] / units_);
}

Saved MaxOutOp::saved(std::span<const Shape> in) const {
  return {.shape = infer(in), .dtype = DType::int32, .none = false};
}

void MaxOutOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const {
  context.kernels.max_pool(units_as_windows(out.shape(), units_), in[0].data(), out.floats(), saved.data<int32_t>());
}

void MaxOutOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int, Tensor dx) const {
  context.kernels.max_pool_vjp(units_as_windows(v.output.shape(), units_), targets, v.saved.data<int32_t>(),
                               dy.floats(), dx.floats());
}

Value add_bcos_conv2d(Graph& graph, Value x, Value w, const BcosParams& params, const std::string& name) {
  const Value unit = graph.add(std::make_shared<UnitNormOp>(), {w}, name + ".unit_weight");
  Conv2dOp::Params product = params.conv;
  product.smooth = params.max_out == 1;
  const Value u = graph.add(std::make_shared<Conv2dOp>(product), {x, unit}, name + ".linear");
  const Shape& kernel = graph.shape(w);
  return add_scale(graph, u, x, params, {kernel[2], kernel[3], params.conv, 1e-6f, 0}, name);
}

Value add_bcos_linear(Graph& graph, Value x, Value w, const BcosParams& params, const std::string& name) {
  const Value unit = graph.add(std::make_shared<UnitNormOp>(), {w}, name + ".unit_weight");
  const Value u = graph.add(std::make_shared<LinearOp>(), {x, unit}, name + ".linear");
  return add_scale(graph, u, x, params, {1, 1, {}, 0, 1e-12f}, name);
}

}  // namespace hp
