// The element types that weight files hold, and reading them as float32.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "runtime/tensor.h"

namespace hp {

enum class ElementType : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

size_t size_of(ElementType);
std::string_view name_of(ElementType);                           // as safetensors writes it: "F32", "BF16", "BOOL"
std::optional<ElementType> element_type(std::string_view name);  // the inverse; nothing for an unknown name
ElementType element_type(DType);

float from_float16(uint16_t bits);  // IEEE 754 binary16, subnormals and infinities included
float from_bfloat16(uint16_t bits);
uint16_t to_float16(float value);  // to the nearest, ties to even; infinity from 65520 on

// Elements of `storage` at offset + sum of index x stride, all counted in elements.
struct StridedView {
  Shape shape;
  std::array<int64_t, Shape::max_rank> strides{};
  int64_t offset = 0;

  static StridedView contiguous(const Shape& shape);
  // Whether every element lies in a storage of `elements` elements; safe for any values of the members.
  bool fits(int64_t elements) const;
};

// A new contiguous float32 tensor with the view's values (int32 with the same bits where the type is i32). Bytes need
// no alignment. Throws hp::Error if the view does not fit into `storage`.
Tensor read_elements(ElementType type, std::span<const std::byte> storage, const StridedView& view);

}  // namespace hp
