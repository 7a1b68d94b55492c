#include "runtime/elements.h"

#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "runtime/error.h"

namespace hp {
namespace {

struct TypeFacts {
  std::string_view name;
  size_t size;
};

constexpr std::array<TypeFacts, 10> facts{{{"F64", 8},
                                           {"F32", 4},
                                           {"F16", 2},
                                           {"BF16", 2},
                                           {"I64", 8},
                                           {"I32", 4},
                                           {"I16", 2},
                                           {"I8", 1},
                                           {"U8", 1},
                                           {"BOOL", 1}}};

// How one stored element of type T becomes a value of type Out.
template <class T, class Out>
Out plain(T value) {
  return static_cast<Out>(value);
}
float truth(uint8_t value) { return value != 0 ? 1.0F : 0.0F; }

// Walks the view row by row (a row is the last axis); bytes may lie anywhere, so each element is copied out.
template <class T, class Out, Out (*convert)(T)>
void gather(const std::byte* storage, const StridedView& view, Out* out) {
  const Shape& shape = view.shape;
  const int64_t columns = shape.columns();
  const int64_t step = shape.rank() ? view.strides[static_cast<size_t>(shape.rank() - 1)] : 1;
  std::array<int64_t, Shape::max_rank> index{};
  for (int64_t row = 0; row < shape.rows(); ++row) {
    int64_t start = view.offset;
    for (int axis = 0; axis + 1 < shape.rank(); ++axis)
      start += index[static_cast<size_t>(axis)] * view.strides[static_cast<size_t>(axis)];
    const std::byte* from = storage + static_cast<size_t>(start) * sizeof(T);
    if (std::is_same_v<T, Out> && step == 1) {
      std::memcpy(out, from, static_cast<size_t>(columns) * sizeof(T));
      out += columns;
    } else {
      for (int64_t column = 0; column < columns; ++column) {
        T value;
        std::memcpy(&value, from + static_cast<size_t>(column * step) * sizeof(T), sizeof(T));
        *out++ = convert(value);
      }
    }
    for (int axis = shape.rank() - 2; axis >= 0; --axis) {
      if (++index[static_cast<size_t>(axis)] < shape[axis]) break;
      index[static_cast<size_t>(axis)] = 0;
    }
  }
}

// The same elements with as long rows as they allow: a contiguous array is one.
StridedView in_long_rows(const StridedView& view) {
  const StridedView contiguous = StridedView::contiguous(view.shape);
  for (int axis = 0; axis < view.shape.rank(); ++axis) {
    const auto i = static_cast<size_t>(axis);
    if (view.shape[axis] != 1 && view.strides[i] != contiguous.strides[i]) return view;
  }
  return {.shape = {view.shape.count()}, .strides = {1}, .offset = view.offset};
}

}  // namespace

size_t size_of(ElementType type) { return facts[static_cast<size_t>(type)].size; }
std::string_view name_of(ElementType type) { return facts[static_cast<size_t>(type)].name; }

std::optional<ElementType> element_type(std::string_view name) {
  for (size_t i = 0; i < facts.size(); ++i)
    if (facts[i].name == name) return static_cast<ElementType>(i);
  return std::nullopt;
}

ElementType element_type(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return ElementType::f32;
    case DType::int32:
      return ElementType::i32;
    case DType::float16:
      return ElementType::f16;
    case DType::bfloat16:
      return ElementType::bf16;
  }
  fail("[elements] unknown tensor type {}", static_cast<int>(dtype));
}

float from_float16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1FU;
  const uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: mantissa x 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;  // 112 = 127 - 15, the difference of the biases
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

float from_bfloat16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t to_float16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
  uint32_t magnitude = bits & 0x7FFFFFFFU;
  constexpr uint32_t infinity = 0x7F800000U, overflow = 0x477FF000U, smallest_normal = 0x38800000U;
  uint32_t half = 0;
  if (magnitude > infinity) {
    half = 0x7E00U;  // NaN
  } else if (magnitude >= overflow) {
    half = 0x7C00U;
  } else if (magnitude < smallest_normal) {  // adding 1/2 rounds to multiples of 2^-24, the step of the subnormals
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - std::bit_cast<uint32_t>(0.5F);
  } else {
    magnitude += 0xFFFU + ((magnitude >> 13) & 1U);
    half = (magnitude - (112U << 23)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

StridedView StridedView::contiguous(const Shape& shape) {
  StridedView view{.shape = shape};
  if (shape.count() == 0) return view;  // the other extents may be so large that their products overflow
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    view.strides[static_cast<size_t>(axis)] = stride;
    stride *= shape[axis];
  }
  return view;
}

bool StridedView::fits(int64_t elements) const {
  if (offset < 0 || offset > elements) return false;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (strides[static_cast<size_t>(axis)] < 0) return false;
  if (shape.count() == 0) return true;
  int64_t last = offset;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    int64_t reach = 0;
    if (__builtin_mul_overflow(shape[axis] - 1, strides[static_cast<size_t>(axis)], &reach)) return false;
    if (__builtin_add_overflow(last, reach, &last)) return false;
  }
  return last < elements;
}

Tensor read_elements(ElementType type, std::span<const std::byte> storage, const StridedView& given) {
  const auto elements = static_cast<int64_t>(storage.size() / size_of(type));
  require(given.fits(elements),
          "[elements] a tensor reaches outside its storage; got shape {} at {}; expected at most {} elements",
          given.shape.str(), given.offset, elements);
  Tensor tensor = Tensor::host(given.shape, type == ElementType::i32 ? DType::int32 : DType::float32);
  if (given.shape.count() == 0) return tensor;
  const StridedView view = in_long_rows(given);
  const std::byte* data = storage.data();
  switch (type) {
    case ElementType::f64:
      gather<double, float, plain<double, float>>(data, view, tensor.floats());
      break;
    case ElementType::f32:
      gather<float, float, plain<float, float>>(data, view, tensor.floats());
      break;
    case ElementType::f16:
      gather<uint16_t, float, from_float16>(data, view, tensor.floats());
      break;
    case ElementType::bf16:
      gather<uint16_t, float, from_bfloat16>(data, view, tensor.floats());
      break;
    case ElementType::i64:
      gather<int64_t, float, plain<int64_t, float>>(data, view, tensor.floats());
      break;
    case ElementType::i32:
      gather<int32_t, int32_t, plain<int32_t, int32_t>>(data, view, tensor.data<int32_t>());
      break;
    case ElementType::i16:
      gather<int16_t, float, plain<int16_t, float>>(data, view, tensor.floats());
      break;
    case ElementType::i8:
      gather<int8_t, float, plain<int8_t, float>>(data, view, tensor.floats());
      break;
    case ElementType::u8:
      gather<uint8_t, float, plain<uint8_t, float>>(data, view, tensor.floats());
      break;
    case ElementType::boolean:
      gather<uint8_t, float, truth>(data, view, tensor.floats());
      break;
  }
  return tensor;
}

}  // namespace hp
