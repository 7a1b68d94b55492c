// Arrays that are shorter than the range that reads them (`i mod n` of runtime/kernels.h), without a division per
// element.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace hp {

// Elements worth a thread of their own: a few microseconds.
inline constexpr int64_t element_grain = 16384;

// Rows worth a thread of their own.
inline int64_t row_grain(int64_t columns) {
  return std::max<int64_t>(1, element_grain / std::max<int64_t>(columns, 1));
}

// f(i, phase, count) for the pieces [i, i + count) of [begin, end) within which phase = i mod period does not wrap.
template <class F>
void for_periods(int64_t begin, int64_t end, int64_t period, F&& f) {
  int64_t phase = begin % std::max<int64_t>(period, 1);
  for (int64_t i = begin; i < end;) {
    const int64_t count = std::min(period - phase, end - i);
    f(i, phase, count);
    i += count;
    phase = 0;
  }
}

// How often an array of `period` elements is repeated so that a piece of a range of n is worth a function call.
inline int64_t repeats_for(int64_t period, int64_t n) {
  constexpr int64_t worthwhile = 1024;
  if (period <= 0 || period >= worthwhile) return 1;
  return std::max<int64_t>(1, std::min(worthwhile / period, n / period));
}

// An array of `period` elements, `repeats` times in a row.
class Repeated {
 public:
  Repeated(const float* values, int64_t period, int64_t repeats) : values_(values) {
    if (repeats == 1) return;
    copy_.reserve(static_cast<size_t>(period * repeats));
    for (int64_t i = 0; i < repeats; ++i) copy_.insert(copy_.end(), values, values + period);
    values_ = copy_.data();
  }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;
  const float* data() const { return values_; }

 private:
  const float* values_;
  std::vector<float> copy_;
};

}  // namespace hp
