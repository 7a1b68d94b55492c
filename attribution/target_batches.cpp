#include "attribution/target_batches.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "runtime/error.h"

namespace hp {

std::vector<TargetBatch> batch_by_targets(std::span<const std::vector<int>> targets_of, int64_t batch) {
  require(batch >= 1, "[targets] batch out of range; got {}; expected at least 1", batch);
  std::map<size_t, std::vector<int64_t>> groups;
  for (size_t i = 0; i < targets_of.size(); ++i) {
    if (!targets_of[i].empty()) groups[targets_of[i].size()].push_back(static_cast<int64_t>(i));
  }
  std::vector<TargetBatch> batches;
  for (const auto& [count, images] : groups) {
    for (size_t begin = 0; begin < images.size(); begin += static_cast<size_t>(batch)) {
      const size_t end = std::min(images.size(), begin + static_cast<size_t>(batch));
      TargetBatch one;
      one.images.assign(images.begin() + static_cast<ptrdiff_t>(begin), images.begin() + static_cast<ptrdiff_t>(end));
      for (size_t t = 0; t < count; ++t) {
        for (int64_t image : one.images) one.targets.push_back(targets_of[static_cast<size_t>(image)][t]);
      }
      batches.push_back(std::move(one));
    }
  }
  return batches;
}

RowOrigin origin(const TargetBatch& batch, int64_t row) {
  const auto images = static_cast<int64_t>(batch.images.size()), rows = static_cast<int64_t>(batch.targets.size());
  return {row / rows, batch.images[static_cast<size_t>(row % images)], row % rows / images};
}

std::vector<int64_t> rows_in_order(std::span<const TargetBatch> batches, int64_t heads) {
  std::vector<RowOrigin> origins;
  for (const TargetBatch& batch : batches) {
    const int64_t rows = heads * static_cast<int64_t>(batch.targets.size());
    for (int64_t row = 0; row < rows; ++row) origins.push_back(origin(batch, row));
  }
  std::vector<int64_t> order(origins.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const RowOrigin &x = origins[static_cast<size_t>(a)], &y = origins[static_cast<size_t>(b)];
    return std::tie(x.head, x.image, x.target) < std::tie(y.head, y.image, y.target);
  });
  return order;
}

}  // namespace hp
