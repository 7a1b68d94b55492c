#include "runtime/shape.h"

#include <algorithm>
#include <limits>

#include "runtime/error.h"

namespace hp {

Shape::Shape(std::span<const int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  require(extents.size() <= max_rank, "[shape] too many axes; got {}; expected at most {}", extents.size(), max_rank);
  std::copy(extents.begin(), extents.end(), extents_.begin());
  int64_t count = 1;
  for (int64_t extent : extents) {
    require(extent >= 0, "[shape] negative extent; got {}; expected 0 or more", extent);
    require(extent == 0 || count <= std::numeric_limits<int64_t>::max() / 8 / extent,
            "[shape] too many elements; got {}; expected a product below 2^60", str());
    count *= extent;
  }
}

int64_t Shape::count() const {
  int64_t count = 1;
  for (int64_t extent : extents()) count *= extent;
  return count;
}

Shape Shape::with(int axis, int64_t extent) const {
  Shape copy = *this;
  copy.extents_[static_cast<size_t>(axis < 0 ? axis + rank_ : axis)] = extent;
  return Shape(copy.extents());
}

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(extents(), ", ")); }

}  // namespace hp
