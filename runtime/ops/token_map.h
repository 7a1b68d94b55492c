// Between maps of tokens and lists of them: the same values in the same order, whatever the size of the image. Both are
// of the kind reshape, for every rule.
#pragma once

#include <string>

#include "runtime/fitted.h"

namespace hp {

// The node that says how many rows and columns of patches an image has: its map is [batch, rows, columns, channels].
// Ops that hold these numbers follow it.
inline constexpr std::string_view patch_grid = "patch_embed";
struct PatchGrid {
  int64_t rows = 1, columns = 1;
  int64_t count() const { return rows * columns; }
};
PatchGrid patch_grid_of(const Graph& graph);  // throws hp::Error if the graph has no such node

// [batch, rows, columns, channels] -> [batch, rows * columns, channels].
class TokensOfMapOp final : public Op {
 public:
  OpKind kind() const override { return OpKind::reshape; }
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }
};

// [batch, rows * columns, channels] -> [batch, rows, columns, channels].
class MapOfTokensOp final : public FittedOp {
 public:
  explicit MapOfTokensOp(PatchGrid grid) : grid_(grid) {}
  OpKind kind() const override { return OpKind::reshape; }
  Shape infer(std::span<const Shape> in) const override;
  OpPtr fitted(const Graph& graph) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;
  bool nonnegative(bool inputs_nonnegative) const override { return inputs_nonnegative; }

 private:
  PatchGrid grid_;
};

}  // namespace hp
