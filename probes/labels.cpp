#include "probes/labels.h"

#include "runtime/error.h"

namespace hp {

Labels::Labels(int64_t classes, bool multi_label) : classes_(classes), multi_label_(multi_label) {
  require(classes >= 1, "[labels] no classes; got {}; expected at least 1", classes);
}

void Labels::check(std::span<const int> values) const {
  for (const int value : values) {
    require(value >= 0 && value < classes_, "[labels] class out of range at sample {}; got {}; expected 0..{}", size(),
            value, classes_ - 1);
  }
}

void Labels::add(std::span<const int> present, std::span<const int> difficult) {
  check(present);
  check(difficult);
  require(multi_label_ || (present.size() == 1 && difficult.empty()),
          "[labels] single-label data needs one class a sample; got {} and {} difficult at sample {}; expected 1 and 0",
          present.size(), difficult.size(), size());
  const size_t begin = values_.size();
  values_.insert(values_.end(), present.begin(), present.end());
  values_.insert(values_.end(), difficult.begin(), difficult.end());
  samples_.push_back({begin, begin + present.size(), values_.size()});
}

std::span<const int> Labels::present(int64_t sample) const {
  const Extent& extent = samples_.at(static_cast<size_t>(sample));
  return std::span(values_).subspan(extent.begin, extent.difficult - extent.begin);
}

std::span<const int> Labels::difficult(int64_t sample) const {
  const Extent& extent = samples_.at(static_cast<size_t>(sample));
  return std::span(values_).subspan(extent.difficult, extent.end - extent.difficult);
}

}  // namespace hp
