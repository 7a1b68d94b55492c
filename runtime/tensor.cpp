#include "runtime/tensor.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

size_t size_of(DType dtype) { return dtype == DType::float32 || dtype == DType::int32 ? 4 : 2; }

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::int32:
      return "int32";
    case DType::float16:
      return "float16";
    case DType::bfloat16:
      return "bfloat16";
  }
  return "?";
}

Tensor::Tensor(Shape shape, DType dtype, std::shared_ptr<Storage> storage, size_t offset)
    : shape_(shape), dtype_(dtype), storage_(std::move(storage)), offset_(offset) {
  require(storage_ && offset_ <= storage_->bytes() && bytes() <= storage_->bytes() - offset_,
          "[tensor] view outside its storage; got {} bytes at {}; expected at most {} bytes in all", bytes(), offset_,
          storage_ ? storage_->bytes() : 0);
}

Tensor Tensor::without_values(Shape shape) {
  Tensor tensor;
  tensor.shape_ = shape;
  return tensor;
}

Tensor Tensor::host(Shape shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.count()) * size_of(dtype);
  return Tensor(shape, dtype, std::make_shared<Storage>(allocate_host(bytes)));
}

Tensor Tensor::host(Shape shape, std::span<const float> values) {
  require(static_cast<int64_t>(values.size()) == shape.count(), "[tensor] wrong number of values; got {}; expected {}",
          values.size(), shape.str());
  Tensor tensor = host(shape);
  std::copy(values.begin(), values.end(), tensor.floats());
  return tensor;
}

Tensor Tensor::reshaped(Shape shape) const {
  require(shape.count() == count(), "[tensor] reshape changes the number of elements; got {}; expected that of {}",
          shape.str(), shape_.str());
  Tensor tensor = *this;
  tensor.shape_ = shape;
  return tensor;
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  require(shape_.rank() > 0 && begin >= 0 && begin <= end && end <= shape_[0],
          "[tensor] slice outside the outermost axis; got {}..{}; expected within {}", begin, end, shape_.str());
  Tensor tensor = *this;
  const size_t row_bytes = shape_[0] ? bytes() / static_cast<size_t>(shape_[0]) : 0;
  tensor.shape_ = shape_.with(0, end - begin);
  tensor.offset_ += static_cast<size_t>(begin) * row_bytes;
  return tensor;
}

void Tensor::check_type(size_t element_bytes) const {
  require(storage_ != nullptr, "[tensor] no storage; got an empty tensor; expected data");
  require(element_bytes == size_of(dtype_), "[tensor] wrong element type; got {} bytes; expected {}", element_bytes,
          name_of(dtype_));
}

}  // namespace hp
