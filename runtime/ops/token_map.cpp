#include "runtime/ops/token_map.h"

#include "runtime/error.h"
#include "runtime/graph.h"

namespace hp {

PatchGrid patch_grid_of(const Graph& graph) {
  const Shape map = graph.node(graph.find(patch_grid)).shape;
  require(map.rank() == 4, "[tokens] '{}' is no map of patches; got {}; expected [batch, rows, columns, channels]",
          patch_grid, map.str());
  return {map[1], map[2]};
}

Shape TokensOfMapOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() == 4, "[tokens] no map; got {}; expected [batch, rows, columns, channels]",
          in.empty() ? "none" : in[0].str());
  return {in[0][0], in[0][1] * in[0][2], in[0][3]};
}

void TokensOfMapOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.copy(in[0].data(), out.bytes(), out.floats());
}

void TokensOfMapOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  context.kernels.copy(dy.floats(), dx.bytes(), dx.floats());
}

Shape MapOfTokensOp::infer(std::span<const Shape> in) const {
  require(in.size() == 1 && in[0].rank() == 3 && in[0][1] == grid_.count(),
          "[tokens] not the tokens of a map; got {}; expected [batch, {} * {}, channels]",
          in.empty() ? "none" : in[0].str(), grid_.rows, grid_.columns);
  return {in[0][0], grid_.rows, grid_.columns, in[0][2]};
}

OpPtr MapOfTokensOp::fitted(const Graph& graph) const { return std::make_shared<MapOfTokensOp>(patch_grid_of(graph)); }

void MapOfTokensOp::forward(Context context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor) const {
  context.kernels.copy(in[0].data(), out.bytes(), out.floats());
}

void MapOfTokensOp::vjp(Context context, const Values&, const Tensor& dy, int, int, Tensor dx) const {
  context.kernels.copy(dy.floats(), dx.bytes(), dx.floats());
}

}  // namespace hp
