#include "runtime/ops/resize_positions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/error.h"
#include "runtime/ops/token_map.h"

namespace hp {

namespace {

// Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981.
double cubic(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// One axis as a matrix [out, in]; `scale` is what a step of the output is among the inputs.
struct Axis {
  int64_t in, out;
  double scale;
};

std::vector<float> interpolation(const Axis& axis) {
  std::vector<double> matrix(static_cast<size_t>(axis.in * axis.out));
  for (int64_t o = 0; o < axis.out; ++o) {
    const double position = axis.scale * (static_cast<double>(o) + 0.5) - 0.5, first = std::floor(position);
    for (int tap = -1; tap <= 2; ++tap) {
      const auto i = std::clamp(static_cast<int64_t>(first) + tap, int64_t{0}, axis.in - 1);
      matrix[static_cast<size_t>(o * axis.in + i)] += cubic(position - first - tap, -0.75);
    }
  }
  return {matrix.begin(), matrix.end()};
}

std::vector<float> antialiased(const Axis& axis) {
  std::vector<float> matrix(static_cast<size_t>(axis.in * axis.out));
  const double wide = std::max(axis.scale, 1.0);
  for (int64_t o = 0; o < axis.out; ++o) {
    const double centre = axis.scale * (static_cast<double>(o) + 0.5);
    const int64_t begin = std::max<int64_t>(static_cast<int64_t>(std::floor(centre - 2 * wide + 0.5)), 0);
    const int64_t end = std::min(static_cast<int64_t>(std::floor(centre + 2 * wide + 0.5)), axis.in);
    double total = 0;
    for (int64_t i = begin; i < end; ++i) total += cubic((static_cast<double>(i) - centre + 0.5) / wide, -0.5);
    for (int64_t i = begin; i < end; ++i) {
      matrix[static_cast<size_t>(o * axis.in + i)] =
          static_cast<float>(cubic((static_cast<double>(i) - centre + 0.5) / wide, -0.5) / total);
    }
  }
  return matrix;
}

Tensor matrix_of(Context context, const ResizePositionsOp::Params& p, int64_t in, int64_t out) {
  const auto grid = static_cast<double>(in), size = static_cast<double>(out);
  const bool other = p.height != p.out_height || p.width != p.out_width;
  const Axis axis{in, out, p.source == PositionSource::dino && other ? grid / (size + 0.1) : grid / size};
  const std::vector<float> values = p.antialias ? antialiased(axis) : interpolation(axis);
  const Tensor matrix = context.scratch.take(Shape{out, in});
  context.kernels.upload(values.data(), matrix.bytes(), matrix.floats());
  context.kernels.synchronize();  // `values` goes away
  return matrix;
}

}  // namespace

std::string ResizePositionsOp::describe() const {
  return fmt::format("resize_positions {}x{} to {}x{}{}{}", params_.height, params_.width, params_.out_height,
                     params_.out_width, params_.source == Source::dino ? " dino" : "",
                     params_.antialias ? " antialiased" : "");
}

OpPtr ResizePositionsOp::fitted(const Graph& graph) const {
  const PatchGrid grid = patch_grid_of(graph);
  Params params = params_;
  params.out_height = grid.rows, params.out_width = grid.columns;
  return std::make_shared<ResizePositionsOp>(params);
}

Shape ResizePositionsOp::infer(std::span<const Shape> in) const {
  const Params& p = params_;
  require(in.size() == 1 && (in[0].rank() == 2 || (in[0].rank() == 3 && in[0][0] == 1)),
          "[resize_positions] wrong input; got {}; expected one [tokens, channels] or [1, tokens, channels]",
          in.empty() ? "none" : in[0].str());
  require(p.prefix >= 0 && p.height >= 1 && p.width >= 1 && p.out_height >= 1 && p.out_width >= 1 &&
              in[0][-2] == p.prefix + p.height * p.width,
          "[resize_positions] the grid does not fit; got {} for {}; expected {} + height * width tokens", describe(),
          in[0].str(), p.prefix);
  return in[0].with(-2, p.prefix + p.out_height * p.out_width);
}

// The rows' matrix times [height, width * channels], then the columns' matrix for every row.
void ResizePositionsOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const Params& p = params_;
  const int64_t channels = out.shape()[-1], front = p.prefix * channels;
  const Tensor rows = matrix_of(context, p, p.height, p.out_height),
               columns = matrix_of(context, p, p.width, p.out_width);
  const Tensor wide = context.scratch.take(Shape{p.out_height, p.width * channels});
  context.kernels.copy(in[0].data(), static_cast<size_t>(front) * sizeof(float), out.floats());
  context.kernels.matmul({.m = p.out_height, .n = p.width * channels, .k = p.height}, rows.floats(),
                         in[0].data() + front, wide.floats());
  for (int64_t row = 0; row < p.out_height; ++row) {
    context.kernels.matmul({.m = p.out_width, .n = channels, .k = p.width}, columns.floats(),
                           wide.floats() + row * p.width * channels,
                           out.floats() + front + row * p.out_width * channels);
  }
}

void ResizePositionsOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  const Params& p = params_;
  const int64_t channels = dx.shape()[-1], front = p.prefix * channels;
  const Tensor rows = matrix_of(context, p, p.height, p.out_height),
               columns = matrix_of(context, p, p.width, p.out_width);
  const Tensor wide = context.scratch.take(Shape{p.out_height, p.width * channels});
  context.kernels.copy(dy.floats(), static_cast<size_t>(front) * sizeof(float), dx.floats());
  for (int64_t row = 0; row < p.out_height; ++row) {
    context.kernels.matmul({.m = p.width, .n = channels, .k = p.out_width, .transpose_a = true}, columns.floats(),
                           dy.floats() + front + row * p.out_width * channels,
                           wide.floats() + row * p.width * channels);
  }
  context.kernels.matmul({.m = p.height, .n = p.width * channels, .k = p.out_height, .transpose_a = true},
                         rows.floats(), wide.floats(), dx.floats() + front);
}

}  // namespace hp
