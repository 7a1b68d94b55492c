#include "tools/data/mask.h"

namespace hp {

int64_t nearest_source(int64_t index, int64_t source, int64_t target) {
  return (2 * index + 1) * source / (2 * target);
}

Mask gather(const Mask& mask, std::span<const int64_t> rows, std::span<const int64_t> columns) {
  Mask result{
      .category = mask.category, .height = static_cast<int>(rows.size()), .width = static_cast<int>(columns.size())};
  result.covered.resize(rows.size() * columns.size());
  size_t out = 0;
  for (const int64_t y : rows) {
    for (const int64_t x : columns) {
      if (y >= 0 && x >= 0) result.covered[out] = mask.covered[static_cast<size_t>(y * mask.width + x)];
      ++out;
    }
  }
  return result;
}

}  // namespace hp
