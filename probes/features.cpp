#include "probes/features.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

void for_each_row(std::span<const int64_t> rows, int64_t row_bytes,
                  const std::function<void(int64_t index, int64_t row)>& copy) {
  constexpr int64_t worthwhile = 1 << 19;
  const auto count = static_cast<int64_t>(rows.size());
#pragma omp parallel for schedule(static) if (count * row_bytes >= worthwhile)
  for (int64_t i = 0; i < count; ++i) copy(i, rows[static_cast<size_t>(i)]);
}

Tensor mean_over_positions(Kernels& kernels, ArenaPool& pool, const Tensor& maps) {
  const Shape& shape = maps.shape();
  const Tensor means = pool.take({shape[0], 1, 1, shape[3]});
  kernels.avg_pool({.batch = shape[0],
                    .height = shape[1],
                    .width = shape[2],
                    .channels = shape[3],
                    .window_height = shape[1],
                    .window_width = shape[2]},
                   maps.floats(), means.floats());
  return means;
}

FeatureTensor::FeatureTensor(Tensor tensor) : tensor_(std::move(tensor)) {
  require(tensor_.shape().rank() == 4 && tensor_.dtype() == DType::float32 && tensor_.device() == Device::cpu,
          "[features] unusable features; got {} {}; expected float32 [rows, height, width, channels] in host memory",
          name_of(tensor_.dtype()), tensor_.shape().str());
}

Shape FeatureTensor::row_shape() const { return {tensor_.shape()[1], tensor_.shape()[2], tensor_.shape()[3]}; }

void FeatureTensor::gather(std::span<const int64_t> rows, float* out) const {
  const int64_t count = row_shape().count();
  const float* from = tensor_.floats();
  for_each_row(rows, row_bytes(),
               [=](int64_t i, int64_t row) { std::copy_n(from + row * count, count, out + i * count); });
}

}  // namespace hp
