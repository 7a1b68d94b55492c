// A learned position embedding for another grid of patches: bicubic interpolation, as a linear op on a parameter, which
// is computed once.
#pragma once

#include "runtime/fitted.h"

namespace hp {

// Where an output lies among the inputs of an axis. size: by the ratio of the two sizes (align_corners off). dino: by
// the scale factor (out + 0.1) / in that DINO passes to its interpolation (protocol.md 1.5, Q37), unless the whole grid
// keeps its size.
enum class PositionSource { size, dino };

// Input: p [1, prefix + height*width, channels] or [prefix + height*width, channels]; y the same with out_height *
// out_width tokens behind the prefix, which is copied.
class ResizePositionsOp final : public FittedOp {
 public:
  using Source = PositionSource;
  struct Params {
    int64_t prefix = 1, height = 1, width = 1, out_height = 1, out_width = 1;
    Source source = Source::size;
    bool antialias = false;  // cubics with a = -1/2, widened where the grid shrinks; otherwise a = -3/4, as they are
  };
  explicit ResizePositionsOp(Params params) : params_(params) {}
  OpKind kind() const override { return OpKind::resize_positions; }
  OpPtr fitted(const Graph& graph) const override;  // the grid of its patches (runtime/ops/token_map.h)
  std::string describe() const override;
  Shape infer(std::span<const Shape> in) const override;
  void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const override;
  void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const override;

 private:
  Params params_;
};

}  // namespace hp
