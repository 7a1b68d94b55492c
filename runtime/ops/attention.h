// Attention as visible nodes, so that relevance rules may match each: q k^T, scale, softmax, A v.
// Vaswani et al., "Attention Is All You Need", 2017.
//
// Heads are not split off: head h of tokens [batch, tokens, heads * width] is the channels h*width ... (h+1)*width - 1,
// and the products read and write it there. The scores, their scale and the softmax are one kernel call wherever nobody
// pins the first two (runtime/plan.h).
#pragma once

#include "runtime/graph.h"

namespace hp {

// Inputs: q [batch, queries, heads * width], k [batch, keys, heads * width]; y [batch, heads, queries, keys] = q k^T.
class AttentionScoresOp final : public Op {
 public:
  explicit AttentionScoresOp(int64_t heads) : heads_(heads) {}
  int64_t heads() const { return heads_; }

  OpKind kind() const override { return OpKind::attention_scores; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int) const override { return Role::data; }
  bool linear_in(int) const override { return true; }
  bool fuses_softmax() const override { return true; }
  int64_t flops(std::span<const Shape> in) const override;

 private:
  int64_t heads_;
};

// Inputs: a [batch, heads, queries, keys], v [batch, keys, heads * width]; y [batch, queries, heads * width] = a v.
class AttentionValuesOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::attention_values; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int) const override { return Role::data; }
  bool linear_in(int) const override { return true; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }
  int64_t flops(std::span<const Shape> in) const override;
};

struct MatmulParams {
  bool transpose_a = false, transpose_b = false;
};

// Inputs: a [..., m, k], b [..., k, n], stored as their transposes where asked; y [..., m, n]. Equal leading axes.
class MatmulOp final : public Op {
 public:
  using Params = MatmulParams;
  explicit MatmulOp(Params params = {}) : params_(params) {}
  OpKind kind() const override { return OpKind::matmul; }
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  Role role(int) const override { return Role::data; }
  bool linear_in(int) const override { return true; }
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }
  int64_t flops(std::span<const Shape> in) const override;

 private:
  Params params_;
};

struct AttentionParams {
  int64_t heads = 1;
  float scale = 0;  // 0: 1 / sqrt(width of a head)
};

// Appends "<name>.qk", "<name>.scale", "<name>.softmax" and "<name>.av", the result. q [batch, queries, channels],
// k [batch, keys, channels], v [batch, keys, value channels].
Value add_attention(Graph& graph, Value q, Value k, Value v, const AttentionParams& params, const std::string& name);

}  // namespace hp
