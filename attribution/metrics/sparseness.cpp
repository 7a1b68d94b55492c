#include "attribution/metrics/sparseness.h"

namespace hp {

namespace {

std::vector<double> download(Context context, const Tensor& values) {
  std::vector<float> host(static_cast<size_t>(values.count()));
  context.kernels.download(values.floats(), values.bytes(), host.data());
  return {host.begin(), host.end()};
}

Maps extents_of(const Tensor& maps) { return {maps.shape()[0], maps.shape()[1], maps.shape()[2]}; }

}  // namespace

std::vector<double> Entropy::values(Context context, const Tensor& maps, std::span<const Subject>) const {
  const Tensor smooth = smoothed(context, maps, Smoothing::box5);
  const Tensor result = context.scratch.take(Shape{maps.shape()[0]});
  context.kernels.entropy(extents_of(maps), smooth.floats(), result.floats());
  return download(context, result);
}

std::vector<double> Gini::values(Context context, const Tensor& maps, std::span<const Subject>) const {
  constexpr float offset = 1e-7f;
  const Tensor result = context.scratch.take(Shape{maps.shape()[0]});
  context.kernels.gini(extents_of(maps), offset, maps.floats(), result.floats());
  return download(context, result);
}

}  // namespace hp
