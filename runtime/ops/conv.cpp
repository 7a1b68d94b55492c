#include "runtime/ops/conv.h"

#include "runtime/error.h"

namespace hp {

namespace {

const float* bias_of(std::span<const Operand> in) { return in.size() > 2 ? in[2].data() : nullptr; }

void convolve(Context context, const Conv2d& geometry, std::span<const Operand> in, const Fusion& fusion, Tensor out) {
  const Epilogue epilogue{bias_of(in), fusion.addend, fusion.activation};
  if (in[1].weight) {
    const Packed& packed = in[1].weight->packed(context.kernels, geometry, PackUse::forward);
    context.kernels.conv2d(geometry, packed, epilogue, in[0].data(), out.floats());
  } else {  // a weight that depends on the image: packed for this one call
    auto packed = context.kernels.pack(geometry, PackUse::forward, in[1].data());
    context.kernels.conv2d(geometry, *packed, epilogue, in[0].data(), out.floats());
  }
}

void convolve_vjp(Context context, const Conv2d& geometry, const Values& values, const Tensor& dy, int which,
                  Tensor dx) {
  Kernels& kernels = context.kernels;
  const Operand& w = values.inputs[1];
  if (which == 1) return kernels.conv2d_weight_gradient(geometry, values.inputs[0].data(), dy.floats(), dx.floats());
  if (which == 2) return kernels.column_sums({dy.shape().rows(), dy.shape().columns()}, dy.floats(), dx.floats());
  if (w.weight) {
    const Packed& packed = w.weight->packed(kernels, geometry, PackUse::input_gradient);
    kernels.conv2d_input_gradient(geometry, packed, dy.floats(), dx.floats());
  } else {
    auto packed = kernels.pack(geometry, PackUse::input_gradient, w.data());
    kernels.conv2d_input_gradient(geometry, *packed, dy.floats(), dx.floats());
  }
}

Conv2d linear_geometry(int64_t rows, const Shape& w) {
  Conv2d geometry;
  geometry.height = rows;
  geometry.channels = w[1];
  geometry.filters = w[0];
  return geometry;
}

}  // namespace

std::string Conv2dOp::describe() const {
  std::string text = "conv2d";
  if (params_.stride != 1) text += fmt::format(" /{}", params_.stride);
  if (params_.padding != 0) text += fmt::format(" pad {}", params_.padding);
  if (params_.dilation != 1) text += fmt::format(" dilation {}", params_.dilation);
  if (params_.groups != 1) text += fmt::format(" groups {}", params_.groups);
  return text;
}

Shape Conv2dOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 || in.size() == 3,
          "[conv2d] wrong number of inputs; got {}; expected x, weight and maybe bias", in.size());
  const Shape &x = in[0], &w = in[1];
  require(x.rank() == 4, "[conv2d] x must be a feature map; got {}; expected [batch, height, width, channels]",
          x.str());
  require(w.rank() == 4 && w[1] * params_.groups == x[3] && w[0] % params_.groups == 0,
          "[conv2d] weight does not fit x; got {} for x {}; expected [filters, {}, kernel, kernel]", w.str(), x.str(),
          x[3] / params_.groups);
  require(in.size() == 2 || in[2] == Shape{w[0]}, "[conv2d] bias does not fit; got {}; expected [{}]", in.back().str(),
          w[0]);
  const Conv2d g = geometry(x, w);
  require(g.height + 2 * g.padding >= g.dilation * (g.kernel_height - 1) + 1 &&
              g.width + 2 * g.padding >= g.dilation * (g.kernel_width - 1) + 1,
          "[conv2d] kernel larger than the padded input; got x {} and weight {}; expected a larger image", x.str(),
          w.str());
  return {g.batch, g.out_height(), g.out_width(), g.filters};
}

Conv2d Conv2dOp::geometry(const Shape& x, const Shape& w) const {
  return {.batch = x[0],
          .height = x[1],
          .width = x[2],
          .channels = x[3],
          .filters = w[0],
          .kernel_height = w[2],
          .kernel_width = w[3],
          .stride = params_.stride,
          .padding = params_.padding,
          .dilation = params_.dilation,
          .groups = params_.groups,
          .fast = params_.fast,
          .smooth = params_.smooth};
}

void Conv2dOp::forward(Context context, std::span<const Operand> in, const Fusion& fusion, Tensor out, Tensor) const {
  convolve(context, geometry(in[0].tensor.shape(), in[1].tensor.shape()), in, fusion, out);
}

void Conv2dOp::vjp(Context context, const Values& values, const Tensor& dy, int, int which, Tensor dx) const {
  Conv2d g = geometry(values.inputs[0].tensor.shape(), values.inputs[1].tensor.shape());
  g.batch = dy.shape()[0];  // the adjoint never reads x, so targets are just more images
  convolve_vjp(context, g, values, dy, which, dx);
}

int64_t Conv2dOp::flops(std::span<const Shape> in) const {
  const Conv2d g = geometry(in[0], in[1]);
  return 2 * g.batch * g.out_height() * g.out_width() * g.weight_count();
}

Shape LinearOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 || in.size() == 3,
          "[linear] wrong number of inputs; got {}; expected x, weight and maybe bias", in.size());
  const Shape &x = in[0], &w = in[1];
  require(x.rank() >= 1 && w.rank() == 2 && w[1] == x[-1],
          "[linear] weight does not fit x; got {} for x {}; expected [out, {}]", w.str(), x.str(), x.columns());
  require(in.size() == 2 || in[2] == Shape{w[0]}, "[linear] bias does not fit; got {}; expected [{}]", in.back().str(),
          w[0]);
  return x.with(-1, w[0]);
}

void LinearOp::forward(Context context, std::span<const Operand> in, const Fusion& fusion, Tensor out, Tensor) const {
  convolve(context, linear_geometry(in[0].tensor.shape().rows(), in[1].tensor.shape()), in, fusion, out);
}

void LinearOp::vjp(Context context, const Values& values, const Tensor& dy, int, int which, Tensor dx) const {
  convolve_vjp(context, linear_geometry(dy.shape().rows(), values.inputs[1].tensor.shape()), values, dy, which, dx);
}

int64_t LinearOp::flops(std::span<const Shape> in) const { return 2 * in[0].rows() * in[1].count(); }

}  // namespace hp
