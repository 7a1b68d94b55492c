#include "probes/feature_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "probes/digest.h"
#include "runtime/error.h"
#include "runtime/file.h"

namespace hp {
namespace {

constexpr int format_version = 1;

nlohmann::ordered_json json_of(const FeatureKey& key) {
  return {{"format", format_version},           {"weights", key.weights}, {"data", key.data},
          {"preprocessing", key.preprocessing}, {"node", key.node},       {"engine", key.engine},
          {"dtype", name_of(key.dtype)},        {"pooled", key.pooled}};
}

std::string text_of(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::filesystem::path path_in(const std::filesystem::path& folder) { return folder / "manifest.json"; }

// Throws nlohmann::json::exception or hp::Error on anything unexpected.
FeatureManifest parsed(std::string_view text, const FeatureKey& key) {
  const nlohmann::json json = nlohmann::json::parse(text);
  require(json.at("digest").get<std::string>() == key.digest(), "[features] manifest of another key");
  FeatureManifest manifest;
  manifest.layout.samples = json.at("samples").get<int64_t>();
  manifest.layout.row = Shape(std::span<const int64_t>(json.at("row").get<std::vector<int64_t>>()));
  manifest.layout.dtype = key.dtype;
  manifest.layout.rows_per_shard = json.at("rows_per_shard").get<int64_t>();
  const FeatureLayout& layout = manifest.layout;
  constexpr int64_t most = int64_t{1} << 40;  // so that no product below overflows
  require(layout.samples >= 0 && layout.samples <= most && layout.rows_per_shard >= 1 &&
              layout.rows_per_shard <= most && layout.row.rank() == 3,
          "[features] bad layout");
  const nlohmann::json& shards = json.at("shards");
  require(shards.is_array() && static_cast<int64_t>(shards.size()) == layout.shards(), "[features] bad shard list");
  for (const nlohmann::json& shard : shards) {
    if (shard.is_null()) {
      manifest.shards.emplace_back();
      continue;
    }
    ShardRecord record{shard.at("sha256").get<std::string>(), shard.at("skipped").get<std::vector<int64_t>>()};
    const auto index = static_cast<int64_t>(manifest.shards.size());
    for (const int64_t sample : record.skipped) {
      require(sample >= layout.first_row(index) && sample < layout.first_row(index) + layout.rows_in(index),
              "[features] bad skipped sample");
    }
    require(std::is_sorted(record.skipped.begin(), record.skipped.end()), "[features] bad skipped samples");
    manifest.shards.emplace_back(std::move(record));
  }
  return manifest;
}

}  // namespace

std::string FeatureKey::digest() const { return sha256_of(text_of(json_of(*this), -1)); }

int64_t FeatureLayout::rows_in(int64_t shard) const { return std::min(rows_per_shard, samples - first_row(shard)); }

std::optional<FeatureManifest> read_manifest(const std::filesystem::path& folder, const FeatureKey& key) {
  if (!std::filesystem::exists(path_in(folder))) return std::nullopt;
  try {
    const MappedFile file(path_in(folder));
    const std::span<const std::byte> bytes = file.bytes();
    return parsed({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, key);
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void write_manifest(const std::filesystem::path& folder, const FeatureKey& key, const FeatureManifest& manifest) {
  nlohmann::ordered_json shards = nlohmann::ordered_json::array();
  for (const std::optional<ShardRecord>& record : manifest.shards) {
    if (record) {
      shards.push_back({{"sha256", record->sha256}, {"skipped", record->skipped}});
    } else {
      shards.push_back(nullptr);
    }
  }
  const nlohmann::ordered_json json{{"digest", key.digest()},
                                    {"key", json_of(key)},
                                    {"samples", manifest.layout.samples},
                                    {"row", manifest.layout.row.extents()},
                                    {"rows_per_shard", manifest.layout.rows_per_shard},
                                    {"shards", shards}};
  AtomicFile file(path_in(folder));
  file.write(text_of(json, 1) + "\n");
  file.commit();
}

}  // namespace hp
