// ShardWriter: computes the rows of one shard of a feature cache and writes its file.
#pragma once

#include <filesystem>
#include <vector>

#include "probes/feature_cache.h"

namespace hp {

class ShardWriter {
 public:
  ShardWriter(Kernels& kernels, const FeatureLayout& layout, const Shape& map, const FillOptions& options);

  // Computes rows first_row .. of a shard and writes them to `path`. False if it was cancelled: nothing is written.
  bool write(int64_t shard, const std::filesystem::path& path);
  const std::vector<int64_t>& skipped() const { return skipped_; }  // of the last shard

 private:
  void compute(int64_t begin, int64_t end, std::byte* rows);
  void store(int64_t begin, int64_t end, std::byte* rows) const;  // staged values to the shard's element type

  Kernels& kernels_;
  FeatureLayout layout_;
  Shape map_;
  const FillOptions& options_;
  ArenaPool pool_;
  Tensor staged_;  // [batch, row], float32, host
  std::vector<int64_t> skipped_;
};

}  // namespace hp
