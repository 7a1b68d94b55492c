// What a folder of cached features holds and what it was made from: the key, the layout, and the list of shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace hp {

// Everything that decides the values of cached features. Two caches with equal keys are interchangeable.
struct FeatureKey {
  std::string weights;        // SHA-256 of the backbone's file
  std::string data;           // digest of the data list: files, their sizes, their order
  std::string preprocessing;  // "resize 256 bilinear, crop 224, mean ..., std ..."
  std::string node;           // the graph's node
  std::string engine;         // device and instruction set: other machines compute other last bits
  DType dtype = DType::float32;
  bool pooled = false;

  std::string digest() const;  // SHA-256 over all of them and the format's version
};

struct FeatureLayout {
  int64_t samples = 0;  // of the data list
  Shape row;            // [height, width, channels] as stored: [1, 1, channels] if pooled
  DType dtype = DType::float32;
  int64_t rows_per_shard = 0;  // the last shard may have fewer

  int64_t row_bytes() const { return row.count() * static_cast<int64_t>(size_of(dtype)); }
  int64_t bytes() const { return samples * row_bytes(); }
  int64_t shards() const { return (samples + rows_per_shard - 1) / rows_per_shard; }
  int64_t first_row(int64_t shard) const { return shard * rows_per_shard; }
  int64_t rows_in(int64_t shard) const;
  bool operator==(const FeatureLayout&) const = default;
};

struct ShardRecord {
  std::string sha256;            // of the file
  std::vector<int64_t> skipped;  // samples that could not be read; their rows are zeros and are not used
};

struct FeatureManifest {
  FeatureLayout layout;
  std::vector<std::optional<ShardRecord>> shards;  // nothing: not written yet
};

// Nothing if there is no manifest, or one that cannot be understood, belongs to another key or another data list.
std::optional<FeatureManifest> read_manifest(const std::filesystem::path& folder, const FeatureKey& key);
void write_manifest(const std::filesystem::path& folder, const FeatureKey& key, const FeatureManifest& manifest);

}  // namespace hp
