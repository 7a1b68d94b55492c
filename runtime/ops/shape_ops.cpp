#include "runtime/ops/shape_ops.h"

#include "runtime/error.h"

namespace hp {

namespace {

Shape infer_pair(std::span<const Shape> in, std::string_view op) {
  require(in.size() == 2 && in[0] == in[1], "[{}] inputs differ; got {} and {}; expected two equal shapes", op,
          in.empty() ? "none" : in[0].str(), in.size() < 2 ? "none" : in[1].str());
  return in[0];
}

// A value seen from one axis: [outer, extent, inner].
struct AxisView {
  int64_t outer = 1, extent = 1, inner = 1;
};

AxisView view(const Shape& shape, int axis) {
  if (axis < 0) axis += shape.rank();
  AxisView v;
  v.extent = shape[axis];
  for (int i = 0; i < axis; ++i) v.outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) v.inner *= shape[i];
  return v;
}

// Copies `count` slices from src (starting at `from`, every `src_step`) to dst (starting at `to`, every `dst_step`).
struct SliceCopy {
  int64_t count, from, src_step, to, dst_step;
};

void copy_slices(Kernels& kernels, const AxisView& src_view, const AxisView& dst_view, const SliceCopy& c,
                 const float* src, float* dst) {
  Block block;
  const int64_t inner = src_view.inner;
  block.extent[0] = 1, block.extent[1] = src_view.outer, block.extent[2] = c.count, block.extent[3] = inner;
  block.src_offset = c.from * inner, block.dst_offset = c.to * inner;
  block.src_stride[1] = src_view.extent * inner, block.dst_stride[1] = dst_view.extent * inner;
  block.src_stride[2] = c.src_step * inner, block.dst_stride[2] = c.dst_step * inner;
  block.src_stride[3] = 1, block.dst_stride[3] = 1;
  kernels.copy_block(block, src, dst);
}

void check_axis(const Shape& shape, int axis, std::string_view op) {
  const int positive = axis < 0 ? axis + shape.rank() : axis;
  require(positive >= 1 && positive < shape.rank(),
          "[{}] bad axis; got {} for {}; expected one that is not the batch axis", op, axis, shape.str());
}

}  // namespace

Shape AddOp::infer(std::span<const Shape> in) const { return infer_pair(in, "add"); }

void AddOp::forward(Context context, std::span<const Operand> in, const Fusion& fusion, Tensor out, Tensor) const {
  if (fusion.activation) {
    context.kernels.add_relu(out.count(), in[0].data(), in[1].data(), out.floats());
  } else {
    context.kernels.combine(Binary::add, out.count(), out.count(), in[0].data(), in[1].data(), out.floats());
  }
}

void AddOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  if (dx.floats() != dy.floats()) context.kernels.copy(dy.floats(), dx.bytes(), dx.floats());
}

Shape MulOp::infer(std::span<const Shape> in) const { return infer_pair(in, "mul"); }

void MulOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.combine(Binary::multiply, out.count(), out.count(), in[0].data(), in[1].data(), out.floats());
}

void MulOp::vjp(Context context, const Values& v, const Tensor& dy, int, int which, Tensor dx) const {
  context.kernels.combine(Binary::multiply, dy.count(), v.output.count(), dy.floats(),
                          v.inputs[1 - static_cast<size_t>(which)].data(), dx.floats());
}

std::string ConcatOp::describe() const { return fmt::format("concat axis {}", axis_); }

Shape ConcatOp::infer(std::span<const Shape> in) const {
  require(!in.empty(), "[concat] no inputs; got 0; expected 1 or more");
  check_axis(in[0], axis_, "concat");
  int64_t extent = 0;
  for (const Shape& shape : in) {
    require(shape.rank() == in[0].rank() && shape.with(axis_, 0) == in[0].with(axis_, 0),
            "[concat] inputs differ off axis {}; got {}; expected the other extents of {}", axis_, shape.str(),
            in[0].str());
    extent += shape[axis_];
  }
  return in[0].with(axis_, extent);
}

void ConcatOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  int64_t at = 0;
  for (const Operand& part : in) {
    const AxisView v = view(part.tensor.shape(), axis_);
    copy_slices(context.kernels, v, view(out.shape(), axis_), {v.extent, 0, 1, at, 1}, part.data(), out.floats());
    at += v.extent;
  }
}

void ConcatOp::vjp(Context context, const Values& v, const Tensor& dy, int, int which, Tensor dx) const {
  int64_t at = 0;
  for (int i = 0; i < which; ++i) at += v.inputs[static_cast<size_t>(i)].tensor.shape()[axis_];
  const AxisView part = view(dx.shape(), axis_);
  copy_slices(context.kernels, view(dy.shape(), axis_), part, {part.extent, at, 1, 0, 1}, dy.floats(), dx.floats());
}

std::string SliceOp::describe() const {
  return fmt::format("slice axis {} from {} step {}", params_.axis, params_.begin, params_.step);
}

Shape SliceOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1, "[slice] wrong number of inputs; got {}; expected 1", in.size());
  check_axis(in[0], params_.axis, "slice");
  const int64_t extent = in[0][params_.axis];
  require(params_.step >= 1 && params_.begin >= 0 && params_.begin < extent,
          "[slice] outside the input; got {} of {}; expected a "
          "beginning inside",
          describe(), in[0].str());
  const int64_t available = (extent - params_.begin + params_.step - 1) / params_.step;
  require(params_.count <= available, "[slice] too many; got {}; expected at most {}", params_.count, available);
  return in[0].with(params_.axis, params_.count ? params_.count : available);
}

void SliceOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const AxisView v = view(out.shape(), params_.axis);
  copy_slices(context.kernels, view(in[0].tensor.shape(), params_.axis), v,
              {v.extent, params_.begin, params_.step, 0, 1}, in[0].data(), out.floats());
}

void SliceOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  const AxisView v = view(dy.shape(), params_.axis);
  context.kernels.fill(dx.count(), 0, dx.floats());
  copy_slices(context.kernels, v, view(dx.shape(), params_.axis), {v.extent, 0, 1, params_.begin, params_.step},
              dy.floats(), dx.floats());
}

std::string PadOp::describe() const {
  return fmt::format("pad axis {} {}+{}", params_.axis, params_.before, params_.after);
}

Shape PadOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && params_.before >= 0 && params_.after >= 0, "[pad] bad padding; got {}; expected 0 or more",
          describe());
  check_axis(in[0], params_.axis, "pad");
  return in[0].with(params_.axis, in[0][params_.axis] + params_.before + params_.after);
}

void PadOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const AxisView v = view(in[0].tensor.shape(), params_.axis);
  context.kernels.fill(out.count(), 0, out.floats());
  copy_slices(context.kernels, v, view(out.shape(), params_.axis), {v.extent, 0, 1, params_.before, 1}, in[0].data(),
              out.floats());
}

void PadOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  const AxisView v = view(dx.shape(), params_.axis);
  copy_slices(context.kernels, view(dy.shape(), params_.axis), v, {v.extent, params_.before, 1, 0, 1}, dy.floats(),
              dx.floats());
}

Shape ReshapeOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() >= 1, "[reshape] wrong inputs; got {}; expected one with a batch axis",
          in.size());
  std::array<int64_t, Shape::max_rank> extents{in[0][0]};
  require(tail_.rank() < Shape::max_rank && tail_.count() * in[0][0] == in[0].count(),
          "[reshape] wrong number of elements; got {}; expected [{}, ...] with the tail {}", in[0].str(), in[0][0],
          tail_.str());
  for (int i = 0; i < tail_.rank(); ++i) extents[static_cast<size_t>(i) + 1] = tail_[i];
  return Shape(std::span<const int64_t>(extents.data(), static_cast<size_t>(tail_.rank()) + 1));
}

void ReshapeOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.copy(in[0].data(), out.bytes(), out.floats());
}

void ReshapeOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  context.kernels.copy(dy.floats(), dx.bytes(), dx.floats());
}

}  // namespace hp
