// FeatureCache: features of a frozen backbone, computed once and kept in files that later runs map into memory.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "probes/feature_manifest.h"
#include "probes/features.h"
#include "runtime/arena_pool.h"
#include "runtime/file.h"

namespace hp {

// Feature maps of samples begin..end-1.
struct FeatureBatch {
  Tensor maps;                   // [end - begin, height, width, channels], float32, on the kernels' device
  std::vector<int64_t> skipped;  // samples that could not be read, ascending; their rows may hold anything
};

// Computes the features of samples begin..end-1; at most FillOptions::batch of them at once.
using FeatureSource = std::function<FeatureBatch(int64_t begin, int64_t end)>;

struct FillOptions {
  FeatureSource source;
  int64_t batch = 32;
  // A shard is what an interrupted run loses: the minutes of a slow machine rather than hours.
  int64_t shard_rows = 512, shard_bytes = int64_t{256} << 20;
  std::function<void(int64_t done, int64_t total)> progress;  // samples; may be empty
  const std::atomic<bool>* cancelled = nullptr;
};

// A folder <root>/<first 32 digits of the key's digest>/ with manifest.json and shard-00000.safetensors ..., each with
// one tensor "features" [rows, height, width, channels]. A shard is written beside its place and renamed, then entered
// in the manifest with its SHA-256, so that an interrupted run goes on at the first shard that is missing. Opening
// checks every shard; one that is missing, cut short or changed is computed again, and so is everything if the manifest
// does not belong to the key. float16 holds magnitudes up to 65504 with a relative error of 2^-11 (absolute 2^-25 below
// 2^-14); larger features are refused.
class FeatureCache final : public Features {
 public:
  // `map`: the shape [height, width, channels] that the source gives. Nothing if it was cancelled; what was finished is
  // kept. Throws hp::Error if the disk is too small, before anything is computed, and if a feature is not finite.
  static std::optional<FeatureCache> open(const std::filesystem::path& root, const FeatureKey& key, int64_t samples,
                                          const Shape& map, Kernels& kernels, const FillOptions& options);
  // Bytes that a complete cache takes, for a plan of a run.
  static int64_t expected_bytes(const FeatureKey& key, int64_t samples, const Shape& map);
  // The folder of a key.
  static std::filesystem::path folder_of(const std::filesystem::path& root, const FeatureKey& key);

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  int64_t sample(int64_t row) const override { return samples_[static_cast<size_t>(row)]; }
  Shape row_shape() const override { return manifest_.layout.row; }
  int64_t row_bytes() const override { return manifest_.layout.row_bytes(); }
  void gather(std::span<const int64_t> rows, float* out) const override;

  std::vector<int64_t> skipped() const;                         // samples without a row
  int64_t shards_computed() const { return shards_computed_; }  // by this call of open
  // Whether there was something that open did not take: made for another key or by another version, or damaged.
  bool discarded() const { return discarded_; }

 private:
  struct Shard {
    MappedFile file;
    const std::byte* data = nullptr;
  };
  FeatureCache(std::filesystem::path folder, FeatureManifest manifest);

  bool verify(int64_t shard);  // maps it if its bytes are those of the manifest
  bool fill(const FeatureKey& key, Kernels& kernels, const Shape& map, const FillOptions& options);
  void list_samples();

  std::filesystem::path folder_;
  FeatureManifest manifest_;
  std::vector<Shard> shards_;
  std::vector<int64_t> samples_;
  int64_t shards_computed_ = 0;
  bool discarded_ = false;
};

}  // namespace hp
