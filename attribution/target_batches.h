// TargetBatches: images with different numbers of targets, as batches in which every image has the same number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hp {

// One call of Attribution::explain().
struct TargetBatch {
  std::vector<int64_t> images;  // indices into the whole, ascending
  std::vector<int> targets;     // [t * images.size() + b]
};

// Where one row of an explanation belongs.
struct RowOrigin {
  int64_t head = 0, image = 0, target = 0;  // the image's index in the whole, and which of its targets
};

// Groups the images by their number of targets (fewest first, then in order) and cuts the groups into batches of at
// most `batch`. Images without targets are in none.
std::vector<TargetBatch> batch_by_targets(std::span<const std::vector<int>> targets_of, int64_t batch);

// Of row (head * targets + t) * batch + b.
RowOrigin origin(const TargetBatch& batch, int64_t row);

// The order in which results of all batches, appended row by row, stand for head, image and target: position i of the
// result is the row that comes i-th when sorted by head, then image, then target.
std::vector<int64_t> rows_in_order(std::span<const TargetBatch> batches, int64_t heads);

}  // namespace hp
