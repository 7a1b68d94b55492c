#include "probes/features.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

FeatureTensor::FeatureTensor(Tensor tensor) : tensor_(std::move(tensor)) {
  require(tensor_.shape().rank() == 4 && tensor_.dtype() == DType::float32 && tensor_.device() == Device::cpu,
          "[features] unusable features; got {} {}; expected float32 [rows, height, width, channels] in host memory",
          name_of(tensor_.dtype()), tensor_.shape().str());
}

Shape FeatureTensor::row_shape() const { return {tensor_.shape()[1], tensor_.shape()[2], tensor_.shape()[3]}; }

void FeatureTensor::gather(std::span<const int64_t> rows, float* out) const {
  const int64_t count = row_shape().count();
  for (const int64_t row : rows) out = std::copy_n(tensor_.floats() + row * count, count, out);
}

}  // namespace hp
