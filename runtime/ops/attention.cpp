#include "runtime/ops/attention.h"

#include <cmath>

#include "runtime/error.h"
#include "runtime/ops/activation.h"

namespace hp {

namespace {

using Map = HeadsMatmul::Map;

Matmul batched_matmul(int64_t batch, int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b) {
  return {.batch = batch, .m = m, .n = n, .k = k, .transpose_a = transpose_a, .transpose_b = transpose_b};
}

}  // namespace

std::string AttentionScoresOp::describe() const { return fmt::format("attention_scores of {} heads", heads_); }

Shape AttentionScoresOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 && in[0].rank() == 3 && in[1].rank() == 3 && in[0][0] == in[1][0] && in[0][2] == in[1][2],
          "[attention_scores] inputs do not fit; got {} and {}; expected q [batch, queries, channels] and k [batch, "
          "keys, channels]",
          in.empty() ? "none" : in[0].str(), in.size() < 2 ? "none" : in[1].str());
  require(heads_ >= 1 && in[0][2] % heads_ == 0,
          "[attention_scores] heads do not divide the channels; got {} heads of {} channels; expected a divisor",
          heads_, in[0][2]);
  return {in[0][0], heads_, in[0][1], in[1][1]};
}

void AttentionScoresOp::forward(Context context, std::span<const Operand> in, const Fusion& fusion, Tensor out,
                                Tensor) const {
  const Shape& y = out.shape();
  context.kernels.heads_matmul({.batch = y[0],
                                .a_images = y[0],
                                .b_images = y[0],
                                .heads = heads_,
                                .m = y[2],
                                .n = y[3],
                                .k = in[0].tensor.shape()[2] / heads_,
                                .transpose_b = true,
                                .map = Map::y,
                                .scale = fusion.scale,
                                .softmax = fusion.softmax},
                               in[0].data(), in[1].data(), out.floats());
}

// dq = dy k, dk = dy^T q
void AttentionScoresOp::vjp(Context context, const Values& v, const Tensor& dy, int, int which, Tensor dx) const {
  const Operand& other = v.inputs[which == 0 ? 1 : 0];
  const Shape& shape = other.tensor.shape();
  const int64_t queries = dy.shape()[2], keys = dy.shape()[3];
  context.kernels.heads_matmul({.batch = dy.shape()[0],
                                .a_images = dy.shape()[0],
                                .b_images = shape[0],
                                .heads = heads_,
                                .m = which == 0 ? queries : keys,
                                .n = shape[2] / heads_,
                                .k = which == 0 ? keys : queries,
                                .transpose_a = which == 1,
                                .map = Map::a},
                               dy.floats(), other.data(), dx.floats());
}

int64_t AttentionScoresOp::flops(std::span<const Shape> in) const { return 2 * in[0].count() * in[1][1]; }

std::string AttentionValuesOp::describe() const { return "attention_values"; }

Shape AttentionValuesOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 && in[0].rank() == 4 && in[1].rank() == 3 && in[0][0] == in[1][0] && in[0][3] == in[1][1],
          "[attention_values] inputs do not fit; got {} and {}; expected a [batch, heads, queries, keys] and v [batch, "
          "keys, channels]",
          in.empty() ? "none" : in[0].str(), in.size() < 2 ? "none" : in[1].str());
  require(in[1][2] % in[0][1] == 0,
          "[attention_values] heads do not divide the channels; got {} heads of {} channels; expected a divisor",
          in[0][1], in[1][2]);
  return {in[0][0], in[0][2], in[1][2]};
}

void AttentionValuesOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const Shape& a = in[0].tensor.shape();
  context.kernels.heads_matmul({.batch = a[0],
                                .a_images = a[0],
                                .b_images = a[0],
                                .heads = a[1],
                                .m = a[2],
                                .n = out.shape()[2] / a[1],
                                .k = a[3],
                                .map = Map::a},
                               in[0].data(), in[1].data(), out.floats());
}

// da = dy v^T, dv = a^T dy
void AttentionValuesOp::vjp(Context context, const Values& v, const Tensor& dy, int, int which, Tensor dx) const {
  const int64_t batch = dy.shape()[0];
  const int64_t heads = which == 0 ? dx.shape()[1] : v.inputs[0].tensor.shape()[1];
  const int64_t width = dy.shape()[2] / heads, queries = dy.shape()[1];
  if (which == 0) {
    const Operand& value = v.inputs[1];
    return context.kernels.heads_matmul({.batch = batch,
                                         .a_images = batch,
                                         .b_images = value.tensor.shape()[0],
                                         .heads = heads,
                                         .m = queries,
                                         .n = value.tensor.shape()[1],
                                         .k = width,
                                         .transpose_b = true,
                                         .map = Map::y},
                                        dy.floats(), value.data(), dx.floats());
  }
  const Operand& a = v.inputs[0];
  context.kernels.heads_matmul({.batch = batch,
                                .a_images = a.tensor.shape()[0],
                                .b_images = batch,
                                .heads = heads,
                                .m = a.tensor.shape()[3],
                                .n = width,
                                .k = queries,
                                .transpose_a = true,
                                .map = Map::a},
                               a.data(), dy.floats(), dx.floats());
}

int64_t AttentionValuesOp::flops(std::span<const Shape> in) const { return 2 * in[1].count() * in[0][2]; }

std::string MatmulOp::describe() const {
  return fmt::format("matmul{}{}", params_.transpose_a ? " a^T" : "", params_.transpose_b ? " b^T" : "");
}

Shape MatmulOp::infer(std::span<const Shape> in) const {
  require(in.size() == 2 && in[0].rank() >= 2 && in[0].rank() == in[1].rank(),
          "[matmul] inputs do not fit; got {} and {}; expected [..., m, k] and [..., k, n]",
          in.empty() ? "none" : in[0].str(), in.size() < 2 ? "none" : in[1].str());
  const int rank = in[0].rank();
  bool fits = in[0][params_.transpose_a ? rank - 2 : rank - 1] == in[1][params_.transpose_b ? rank - 1 : rank - 2];
  for (int axis = 0; axis < rank - 2; ++axis) fits = fits && in[0][axis] == in[1][axis];
  require(fits, "[matmul] inputs do not fit; got {} and {} ({}); expected equal inner and leading axes", in[0].str(),
          in[1].str(), describe());
  return in[0]
      .with(-2, in[0][params_.transpose_a ? rank - 1 : rank - 2])
      .with(-1, in[1][params_.transpose_b ? rank - 2 : rank - 1]);
}

void MatmulOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  const Shape &a = in[0].tensor.shape(), &y = out.shape();
  context.kernels.matmul(batched_matmul(y.count() / (y[-1] * y[-2]), y[-2], y[-1], a[params_.transpose_a ? -2 : -1],
                                        params_.transpose_a, params_.transpose_b),
                         in[0].data(), in[1].data(), out.floats());
}

// da = dy op(b)^T or its transpose, db = op(a)^T dy or its transpose; one product per target.
void MatmulOp::vjp(Context context, const Values& v, const Tensor& dy, int targets, int which, Tensor dx) const {
  const Operand& other = v.inputs[which == 0 ? 1 : 0];
  const bool own_transposed = which == 0 ? params_.transpose_a : params_.transpose_b;
  const bool other_transposed = which == 0 ? params_.transpose_b : params_.transpose_a;
  const int64_t m = dx.shape()[-2], n = dx.shape()[-1], batch = dx.count() / (targets * m * n);
  const bool message_first = (which == 0) != own_transposed;
  const int64_t k = message_first ? dy.shape()[own_transposed ? -2 : -1] : dy.shape()[own_transposed ? -1 : -2];
  for (int target = 0; target < targets; ++target) {
    const float* message = dy.floats() + target * (dy.count() / targets);
    float* out = dx.floats() + target * (dx.count() / targets);
    if (message_first) {
      context.kernels.matmul(batched_matmul(batch, m, n, k, own_transposed, other_transposed == own_transposed),
                             message, other.data(), out);
    } else {
      context.kernels.matmul(batched_matmul(batch, m, n, k, other_transposed == own_transposed, own_transposed),
                             other.data(), message, out);
    }
  }
}

int64_t MatmulOp::flops(std::span<const Shape> in) const {
  return 2 * in[0].count() * in[1][params_.transpose_b ? -2 : -1];
}

Value add_attention(Graph& graph, Value q, Value k, Value v, const AttentionParams& params, const std::string& name) {
  const int64_t channels = graph.shape(q).columns();
  const int64_t width = channels / std::max<int64_t>(1, params.heads);
  const float scale =
      params.scale != 0 ? params.scale : static_cast<float>(1.0 / std::sqrt(static_cast<double>(width)));
  const Value scores = graph.add(std::make_shared<AttentionScoresOp>(params.heads), {q, k}, name + ".qk");
  const Value scaled = graph.add(std::make_shared<AffineOp>(scale, 0.0f), {scores}, name + ".scale");
  const Value weights = graph.add(std::make_shared<SoftmaxOp>(false), {scaled}, name + ".softmax");
  return graph.add(std::make_shared<AttentionValuesOp>(), {weights, v}, name + ".av");
}

}  // namespace hp
