#include "probes/shard_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/elements.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"

namespace hp {
namespace {

constexpr float largest_float16 = 65504;

}  // namespace

ShardWriter::ShardWriter(Kernels& kernels, const FeatureLayout& layout, const Shape& map, const FillOptions& options)
    : kernels_(kernels),
      layout_(layout),
      map_(map),
      options_(options),
      pool_(kernels),
      staged_(Tensor::host({options.batch, layout.row.count()})) {}

bool ShardWriter::write(int64_t shard, const std::filesystem::path& path) {
  const int64_t first = layout_.first_row(shard), rows = layout_.rows_in(shard);
  const Tensor tensor = Tensor::host({rows, layout_.row[0], layout_.row[1], layout_.row[2]}, layout_.dtype);
  skipped_.clear();
  for (int64_t row = 0; row < rows; row += options_.batch) {
    if (options_.cancelled && *options_.cancelled) return false;
    const int64_t end = std::min(row + options_.batch, rows);
    compute(first + row, first + end, tensor.bytes_begin() + row * layout_.row_bytes());
    if (options_.progress) options_.progress(first + end, layout_.samples);
  }
  Parameters file;
  file.set("features", tensor);
  save_safetensors(path, file);
  return true;
}

void ShardWriter::compute(int64_t begin, int64_t end, std::byte* rows) {
  const int64_t count = end - begin;
  const FeatureBatch batch = options_.source(begin, end);
  const Shape expected{count, map_[0], map_[1], map_[2]};
  require(batch.maps.shape() == expected && batch.maps.dtype() == DType::float32 &&
              batch.maps.device() == kernels_.device(),
          "[features] the source gave something else; got {} {}; expected float32 {} on the kernels' device",
          name_of(batch.maps.dtype()), batch.maps.shape().str(), expected.str());
  const Tensor values = layout_.row == map_ ? batch.maps : mean_over_positions(kernels_, pool_, batch.maps);
  kernels_.download(values.floats(), values.bytes(), staged_.floats());
  const auto row_floats = static_cast<size_t>(layout_.row.count());
  for (const int64_t sample : batch.skipped) {
    require(sample >= begin && sample < end, "[features] skipped sample out of range; got {}; expected {}..{}", sample,
            begin, end - 1);
    std::fill_n(staged_.floats() + static_cast<size_t>(sample - begin) * row_floats, row_floats, 0.0F);
    skipped_.push_back(sample);
  }
  std::sort(skipped_.begin(), skipped_.end());
  store(begin, end, rows);
}

void ShardWriter::store(int64_t begin, int64_t end, std::byte* rows) const {
  const int64_t row_floats = layout_.row.count();
  const std::span<const float> values(staged_.floats(), static_cast<size_t>((end - begin) * row_floats));
  const bool half = layout_.dtype == DType::float16;
  const auto unfit = std::find_if(values.begin(), values.end(), [&](float value) {
    return !std::isfinite(value) || (half && std::abs(value) > largest_float16);
  });
  if (unfit != values.end()) {
    const int64_t sample = begin + (unfit - values.begin()) / row_floats;
    fail("[features] a feature of sample {} {}; got {}; {}", sample,
         std::isfinite(*unfit) ? "is too large for float16" : "is not finite", *unfit,
         std::isfinite(*unfit) ? "cache as float32" : "check the backbone's weights and the image");
  }
  if (!half) {
    std::memcpy(rows, values.data(), values.size_bytes());
    return;
  }
  auto* out = reinterpret_cast<uint16_t*>(rows);
  std::transform(values.begin(), values.end(), out, to_float16);
}

}  // namespace hp
