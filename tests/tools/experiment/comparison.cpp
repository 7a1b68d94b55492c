#include "tests/tools/experiment/comparison.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/evaluation.h"
#include "probes/probe.h"
#include "runtime/error.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/support/small_nets.h"

namespace hp::test {

namespace fs = std::filesystem;

double MapComparison::median() const {
  REQUIRE_FALSE(errors.empty());
  std::vector<double> sorted = errors;
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 2];
}

double MapComparison::largest() const {
  REQUIRE_FALSE(errors.empty());
  return *std::max_element(errors.begin(), errors.end());
}

MapComparison compare_maps(const fs::path& one, const fs::path& other, const std::string& method) {
  MapComparison comparison;
  for (const auto& entry : fs::recursive_directory_iterator(one / "maps")) {
    const fs::path& file = entry.path();
    if (file.extension() != ".npy" || file.parent_path().filename() == "layers") continue;
    if (!method.empty() && !file.filename().string().starts_with(method + ".")) continue;
    const fs::path name = file.lexically_relative(one);
    comparison.errors.push_back(testing::relative_error(read_npy(other / name), read_npy(file)));
    if (comparison.errors.back() > 1e-5) comparison.apart.push_back(name);
  }
  return comparison;
}

Tensor cached_features(const fs::path& output, int64_t samples) {
  for (const auto& entry : fs::recursive_directory_iterator(output / "features")) {
    if (entry.path().filename() != "shard-00000.safetensors") continue;
    const Tensor features = load_safetensors(entry.path()).at("features");
    if (features.shape()[0] == samples) return features;
  }
  fail("no features of {} images in {}", samples, output.string());
}

Tensor logits_from(const fs::path& probe_file, const Tensor& features) {
  CpuKernels kernels({.threads = 1});
  const auto predictions = predict(Probe::load(probe_file), FeatureTensor(features), 256, kernels);
  return Tensor::host({predictions->rows(), predictions->classes}, predictions->logits);
}

}  // namespace hp::test
