// Two runs of one experiment side by side: their maps, the features they cached, what their probes say.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace hp::test {

struct MapComparison {
  std::vector<double> errors;                // of each map
  std::vector<std::filesystem::path> apart;  // maps that differ by more than 1e-5, below the output folder
  double median() const;
  double largest() const;
};

// The relative errors of the maps of run `other` against those of run `one`, without those of layers; of one method
// alone where it is named.
MapComparison compare_maps(const std::filesystem::path& one, const std::filesystem::path& other,
                           const std::string& method = {});

// The pooled features of the split with `samples` images, as a run left them in its cache.
Tensor cached_features(const std::filesystem::path& output, int64_t samples);

// Logits [samples, classes] of a stored probe on features, on the CPU.
Tensor logits_from(const std::filesystem::path& probe_file, const Tensor& features);

}  // namespace hp::test
