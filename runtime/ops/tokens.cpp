#include "runtime/ops/tokens.h"

#include <cmath>
#include <vector>

#include "runtime/error.h"
#include "runtime/ops/token_map.h"

namespace hp {

namespace {

// Between a map [batch, height, width, channels] (source) and its patches; the other way round if `back`.
Block patches(const Shape& map, int64_t patch, bool back) {
  const int64_t row = map[2] * map[3], rows = map[0] * map[1] / patch, columns = map[2] / patch;
  const int64_t inner = patch * map[3];
  const int64_t map_stride[4] = {patch * row, row, inner, 1};
  const int64_t token_stride[4] = {columns * patch * inner, inner, patch * inner, 1};
  Block block{.extent = {rows, patch, columns, inner}};
  for (int axis = 0; axis < 4; ++axis) {
    block.src_stride[axis] = back ? token_stride[axis] : map_stride[axis];
    block.dst_stride[axis] = back ? map_stride[axis] : token_stride[axis];
  }
  return block;
}

// `batch` runs of `count` floats, `src_step` and `dst_step` apart.
struct Runs {
  int64_t batch, count, src_step, dst_step;
};

void copy_runs(Kernels& kernels, const Runs& runs, const float* src, float* dst) {
  kernels.copy_block({.extent = {1, 1, runs.batch, runs.count},
                      .src_stride = {0, 0, runs.src_step, 1},
                      .dst_stride = {0, 0, runs.dst_step, 1}},
                     src, dst);
}

}  // namespace

std::string PatchifyOp::describe() const { return fmt::format("patchify {}x{}", patch_, patch_); }

Shape PatchifyOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() == 4,
          "[patchify] wrong input; got {}; expected one map [batch, height, width, channels]",
          in.empty() ? "none" : in[0].str());
  require(patch_ >= 1 && in[0][1] % patch_ == 0 && in[0][2] % patch_ == 0,
          "[patchify] patches do not tile the map; got {} for patches of {}; expected multiples of the patch",
          in[0].str(), patch_);
  return {in[0][0], in[0][1] / patch_, in[0][2] / patch_, patch_ * patch_ * in[0][3]};
}

void PatchifyOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.copy_block(patches(in[0].tensor.shape(), patch_, false), in[0].data(), out.floats());
}

void PatchifyOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  context.kernels.copy_block(patches(dx.shape(), patch_, true), dy.floats(), dx.floats());
}

Shape PrependOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 && in[0].rank() == 3,
          "[prepend] wrong inputs; got {}; expected x [batch, tokens, channels] and tokens of no image",
          in.empty() ? "none" : in[0].str());
  const Shape& t = in[1];
  require((t.rank() == 2 || (t.rank() == 3 && t[0] == 1)) && t[-1] == in[0][2],
          "[prepend] tokens do not fit x {}; got {}; expected [count, {}] or [1, count, {}]", in[0].str(), t.str(),
          in[0][2], in[0][2]);
  return in[0].with(1, in[0][1] + t[-2]);
}

void PrependOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const Shape& x = in[0].tensor.shape();
  const int64_t image = out.count() / x[0], own = x.count() / x[0], front = image - own;
  copy_runs(context.kernels, {x[0], front, 0, image}, in[1].data(), out.floats());
  copy_runs(context.kernels, {x[0], own, own, image}, in[0].data(), out.floats() + front);
}

void PrependOp::vjp(Context context, const Values&, const Tensor& dy, int, int which, Tensor dx) const {
  const int64_t batch = dy.shape()[0], image = dy.count() / batch;
  if (which == 0) {
    const int64_t own = dx.count() / batch;
    return copy_runs(context.kernels, {batch, own, image, own}, dy.floats() + (image - own), dx.floats());
  }
  const Tensor front = context.scratch.take(Shape{batch, dx.count()});
  copy_runs(context.kernels, {batch, dx.count(), image, dx.count()}, dy.floats(), front.floats());
  context.kernels.column_sums({batch, dx.count()}, front.floats(), dx.floats());
}

Shape PositionAddOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 && in[0].rank() >= 2 && in[0][0] >= 1,
          "[position_add] wrong inputs; got {}; expected x [batch, ...] and a position embedding",
          in.empty() ? "none" : in[0].str());
  const Shape &x = in[0], &p = in[1];
  const int offset = x.rank() - p.rank();
  bool fits = offset == 1 || (offset == 0 && p[0] == 1);
  for (int axis = 1; fits && axis < x.rank(); ++axis) fits = p[axis - offset] == x[axis];
  require(fits, "[position_add] the embedding does not fit x {}; got {}; expected {}", x.str(), p.str(),
          x.with(0, 1).str());
  return x;
}

void PositionAddOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.combine(Binary::add, out.count(), in[1].tensor.count(), in[0].data(), in[1].data(), out.floats());
}

void PositionAddOp::vjp(Context context, const Values&, const Tensor& dy, int, int which, Tensor dx) const {
  if (which == 0) return context.kernels.copy(dy.floats(), dx.bytes(), dx.floats());
  context.kernels.column_sums({dy.count() / dx.count(), dx.count()}, dy.floats(), dx.floats());
}

std::string SinCosOp::describe() const { return fmt::format("sin_cos {}x{}", height_, width_); }

OpPtr SinCosOp::fitted(const Graph& graph) const {
  const PatchGrid grid = patch_grid_of(graph);
  return std::make_shared<SinCosOp>(grid.rows, grid.columns, channels_);
}

Shape SinCosOp::infer(std::span<const Shape> in) const {
  require(
      in.empty() && height_ >= 1 && width_ >= 1 && channels_ >= 8 && channels_ % 4 == 0,
      "[sin_cos] wrong size; got {}x{} with {} channels; expected a multiple of 4 channels, at least 8, and no input",
      height_, width_, channels_);
  return {height_ * width_, channels_};
}

void SinCosOp::forward(Context context, std::span<const Operand>, const Fusion&, Tensor out, Tensor) const {
  std::vector<float> values(static_cast<size_t>(out.count()));
  const int64_t quarter = channels_ / 4;
  float* to = values.data();
  for (int64_t i = 0; i < height_ * width_; ++i, to += channels_) {
    const int64_t row = i / width_, column = i % width_;
    const auto x = static_cast<double>(column), y = static_cast<double>(row);
    for (int64_t k = 0; k < quarter; ++k) {
      const double frequency = std::pow(10000.0, -static_cast<double>(k) / static_cast<double>(quarter - 1));
      to[k] = static_cast<float>(std::sin(x * frequency));
      to[quarter + k] = static_cast<float>(std::cos(x * frequency));
      to[2 * quarter + k] = static_cast<float>(std::sin(y * frequency));
      to[3 * quarter + k] = static_cast<float>(std::cos(y * frequency));
    }
  }
  context.kernels.upload(values.data(), out.bytes(), out.floats());
}

void SinCosOp::vjp(Context, const Values&, const Tensor&, int, int, Tensor) const {
  fail("[sin_cos] has no input; got a request for its gradient; expected none");
}

std::string RowsOp::describe() const { return fmt::format("rows {}+{}", begin_, count_); }

Shape RowsOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() >= 1, "[rows] wrong inputs; got {}; expected one parameter", in.size());
  require(begin_ >= 0 && count_ >= 1 && begin_ + count_ <= in[0][0],
          "[rows] outside the parameter; got {} of {}; expected rows that it has", describe(), in[0].str());
  return in[0].with(0, count_);
}

void RowsOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.copy(in[0].data() + begin_ * (out.count() / count_), out.bytes(), out.floats());
}

void RowsOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  context.kernels.fill(dx.count(), 0, dx.floats());
  context.kernels.copy(dy.floats(), dy.bytes(), dx.floats() + begin_ * (dy.count() / count_));
}

}  // namespace hp
