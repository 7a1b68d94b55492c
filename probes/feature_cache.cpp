#include "probes/feature_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "probes/digest.h"
#include "probes/shard_writer.h"
#include "runtime/elements.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"

namespace hp {
namespace {

std::string shard_name(int64_t shard) { return fmt::format("shard-{:05}.safetensors", shard); }

Shape stored_row(const FeatureKey& key, const Shape& map) {
  require(map.rank() == 3, "[features] unusable feature maps; got {}; expected [height, width, channels]", map.str());
  require(key.dtype == DType::float32 || key.dtype == DType::float16,
          "[features] unusable element type; got {}; expected float32 or float16", name_of(key.dtype));
  return key.pooled ? Shape{1, 1, map[2]} : map;
}

FeatureManifest empty_manifest(const FeatureKey& key, int64_t samples, const Shape& map, const FillOptions& options) {
  FeatureManifest manifest;
  manifest.layout = {samples, stored_row(key, map), key.dtype, 0};
  const int64_t rows =
      std::min(options.shard_rows, options.shard_bytes / std::max<int64_t>(1, manifest.layout.row_bytes()));
  // Whole batches, so that only the last batch of the data is smaller.
  manifest.layout.rows_per_shard = std::max<int64_t>(1, rows / options.batch) * options.batch;
  manifest.shards.resize(static_cast<size_t>(manifest.layout.shards()));
  return manifest;
}

// float16 to float32 without branches, exact for every finite value: the exponent is moved by a multiplication.
void widen(const std::byte* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half = 0;
    std::memcpy(&half, from + i * 2, 2);
    const uint32_t shifted = static_cast<uint32_t>(half & 0x7FFFU) << 13;
    const float magnitude = std::bit_cast<float>(shifted) * 0x1p112F;
    to[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | static_cast<uint32_t>(half & 0x8000U) << 16);
  }
}

void require_space(const std::filesystem::path& folder, int64_t wanted) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  require(error || space.available >= static_cast<uintmax_t>(wanted),
          "[features] not enough room in {}; got {} MiB free; expected {} MiB: pooled features or float16 take less",
          folder.string(), space.available >> 20, wanted >> 20);
}

}  // namespace

int64_t FeatureCache::expected_bytes(const FeatureKey& key, int64_t samples, const Shape& map) {
  return FeatureLayout{samples, stored_row(key, map), key.dtype, 1}.bytes();
}

std::filesystem::path FeatureCache::folder_of(const std::filesystem::path& root, const FeatureKey& key) {
  constexpr size_t digits = 32;
  return root / key.digest().substr(0, digits);
}

FeatureCache::FeatureCache(std::filesystem::path folder, FeatureManifest manifest)
    : folder_(std::move(folder)), manifest_(std::move(manifest)), shards_(manifest_.shards.size()) {}

std::optional<FeatureCache> FeatureCache::open(const std::filesystem::path& root, const FeatureKey& key,
                                               int64_t samples, const Shape& map, Kernels& kernels,
                                               const FillOptions& options) {
  require(samples >= 1 && options.batch >= 1,
          "[features] nothing to do; got {} samples in batches of {}; expected both "
          "to be at least 1",
          samples, options.batch);
  const std::filesystem::path folder = folder_of(root, key);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "[features] cannot make the folder {}: {}", folder.string(), error.message());
  FeatureManifest fresh = empty_manifest(key, samples, map, options);
  std::optional<FeatureManifest> found = read_manifest(folder, key);
  // Another size of shards, within reason, is no reason to compute anything again.
  const bool fits = found && found->layout.samples == samples && found->layout.row == fresh.layout.row &&
                    found->layout.rows_per_shard / 64 <= fresh.layout.rows_per_shard;
  remove_abandoned(folder);
  FeatureCache cache(folder, fits ? std::move(*found) : std::move(fresh));
  cache.discarded_ = !fits && std::filesystem::exists(folder / "manifest.json", error);
  if (!cache.fill(key, kernels, map, options)) return std::nullopt;
  cache.list_samples();
  return cache;
}

bool FeatureCache::verify(int64_t shard) {
  const auto index = static_cast<size_t>(shard);
  std::optional<ShardRecord>& record = manifest_.shards[index];
  if (!record) return false;
  const FeatureLayout& layout = manifest_.layout;
  const std::filesystem::path path = folder_ / shard_name(shard);
  try {
    MappedFile file(path);
    if (sha256_of(file.bytes()) != record->sha256) return false;
    const SafetensorsContent content = parse_safetensors(file.bytes(), path.string());
    const Shape expected{layout.rows_in(shard), layout.row[0], layout.row[1], layout.row[2]};
    if (content.entries.size() != 1 || content.entries[0].shape != expected ||
        content.entries[0].type != element_type(layout.dtype)) {
      return false;
    }
    const std::byte* data = content.entries[0].bytes.data();
    shards_[index] = {std::move(file), data};
    return true;
  } catch (const Error&) {  // missing, unreadable, or no safetensors: as good as not there
    return false;
  }
}

bool FeatureCache::fill(const FeatureKey& key, Kernels& kernels, const Shape& map, const FillOptions& options) {
  const FeatureLayout& layout = manifest_.layout;
  std::vector<int64_t> missing;
  int64_t missing_bytes = 0;
  for (int64_t shard = 0; shard < layout.shards(); ++shard) {
    if (options.cancelled && *options.cancelled) return false;
    if (verify(shard)) continue;
    discarded_ = discarded_ || manifest_.shards[static_cast<size_t>(shard)];
    manifest_.shards[static_cast<size_t>(shard)].reset();
    missing.push_back(shard);
    missing_bytes += layout.rows_in(shard) * layout.row_bytes();
  }
  if (missing.empty()) return true;
  require_space(folder_, missing_bytes);
  ShardWriter writer(kernels, layout, map, options);
  for (const int64_t shard : missing) {
    const std::filesystem::path path = folder_ / shard_name(shard);
    if (!writer.write(shard, path)) return false;
    manifest_.shards[static_cast<size_t>(shard)] = {sha256_of(MappedFile(path).bytes()), writer.skipped()};
    write_manifest(folder_, key, manifest_);
    require(verify(shard), "[features] {} changed while it was written; is another run using the same folder?",
            path.string());
    ++shards_computed_;
  }
  return true;
}

void FeatureCache::list_samples() {
  const std::vector<int64_t> left_out = skipped();
  samples_.clear();
  for (int64_t sample = 0; sample < manifest_.layout.samples; ++sample) {
    if (!std::binary_search(left_out.begin(), left_out.end(), sample)) samples_.push_back(sample);
  }
}

std::vector<int64_t> FeatureCache::skipped() const {
  std::vector<int64_t> samples;
  for (const std::optional<ShardRecord>& record : manifest_.shards) {
    if (record) samples.insert(samples.end(), record->skipped.begin(), record->skipped.end());
  }
  return samples;
}

void FeatureCache::gather(std::span<const int64_t> rows, float* out) const {
  const FeatureLayout& layout = manifest_.layout;
  const int64_t floats = layout.row.count();
  for_each_row(rows, layout.row_bytes(), [&](int64_t i, int64_t row) {
    const int64_t stored = sample(row);
    const Shard& shard = shards_[static_cast<size_t>(stored / layout.rows_per_shard)];
    const std::byte* data = shard.data + (stored % layout.rows_per_shard) * layout.row_bytes();
    if (layout.dtype == DType::float32) {
      std::memcpy(out + i * floats, data, static_cast<size_t>(layout.row_bytes()));
    } else {
      widen(data, floats, out + i * floats);
    }
  });
}

}  // namespace hp
