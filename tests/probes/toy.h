// Small made-up data for the tests of probes.
#pragma once

#include <string>
#include <vector>

#include "probes/features.h"
#include "probes/labels.h"
#include "runtime/random.h"

namespace hp::test {

inline std::vector<std::string> class_names(int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back("class" + std::to_string(i));
  return names;
}

inline Tensor random_maps(const Shape& shape, uint64_t seed) {
  Tensor tensor = Tensor::host(shape);
  const Random random(seed, "maps");
  for (int64_t i = 0; i < tensor.count(); ++i)
    tensor.floats()[i] = random.uniform(static_cast<uint64_t>(i), 0.0F, 1.0F);
  return tensor;
}

// Sample i has class i mod classes; channel `class` of its maps is lifted, so that a linear probe separates them.
inline Tensor separable_maps(int64_t samples, int64_t classes, int64_t side, uint64_t seed) {
  Tensor maps = random_maps({samples, side, side, classes + 2}, seed);
  const int64_t channels = classes + 2;
  for (int64_t i = 0; i < samples; ++i) {
    for (int64_t pixel = 0; pixel < side * side; ++pixel)
      maps.floats()[(i * side * side + pixel) * channels + i % classes] += 1.0F;
  }
  return maps;
}

inline Labels cyclic_labels(int64_t samples, int64_t classes) {
  Labels labels(classes, false);
  for (int64_t i = 0; i < samples; ++i) {
    const int label = static_cast<int>(i % classes);
    labels.add({&label, 1});
  }
  return labels;
}

inline std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.floats(), tensor.floats() + tensor.count()};
}

}  // namespace hp::test
