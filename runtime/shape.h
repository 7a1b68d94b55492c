// Shape: the extents of a tensor, row-major, up to eight of them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace hp {

// A rank-0 shape holds one element. Feature maps are [batch, height, width, channels], convolution weights
// [out, in, kernel height, kernel width]. Extents are never negative.
class Shape {
 public:
  static constexpr int max_rank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const int64_t> extents);  // throws hp::Error on more than 8, on negatives, on overflow

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return extents_[static_cast<size_t>(axis < 0 ? axis + rank_ : axis)]; }
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }

  int64_t count() const;                                                // number of elements
  int64_t rows() const { return columns() ? count() / columns() : 0; }  // all but the last axis, flattened
  int64_t columns() const { return rank_ ? (*this)[-1] : 1; }           // the last axis

  Shape with(int axis, int64_t extent) const;  // this shape with one extent replaced
  std::string str() const;                     // "[8, 32, 32, 16]"
  bool operator==(const Shape&) const = default;

 private:
  std::array<int64_t, max_rank> extents_{};
  int rank_ = 0;
};

}  // namespace hp
