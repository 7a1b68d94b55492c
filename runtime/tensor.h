// Tensor: a shape, an element type, and a place in shared storage.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "runtime/shape.h"
#include "runtime/storage.h"

namespace hp {

// Compute is float32; int32 holds labels and arg-max; the 16-bit floats exist for cached features and checkpoints only.
enum class DType : uint8_t { float32, int32, float16, bfloat16 };

size_t size_of(DType);
std::string_view name_of(DType);

// Always contiguous and row-major: changing the layout is an operation, not a flag. Copies share their storage.
class Tensor {
 public:
  Tensor() = default;
  // A view of `shape` elements that starts `offset` bytes into `storage`.
  Tensor(Shape shape, DType dtype, std::shared_ptr<Storage> storage, size_t offset = 0);

  static Tensor without_values(Shape shape);  // empty() all the same

  static Tensor host(Shape shape, DType dtype = DType::float32);   // new host memory, not initialised
  static Tensor host(Shape shape, std::span<const float> values);  // new host memory with a copy of `values`

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  int64_t count() const { return shape_.count(); }
  size_t bytes() const { return static_cast<size_t>(count()) * size_of(dtype_); }
  Device device() const { return storage_ ? storage_->device() : Device::cpu; }
  bool empty() const { return storage_ == nullptr; }

  // The first element; T must match the element type (checked).
  template <class T>
  T* data() const {
    check_type(sizeof(T));
    return reinterpret_cast<T*>(bytes_begin());
  }
  float* floats() const { return data<float>(); }
  std::byte* bytes_begin() const { return storage_->data() + offset_; }

  Tensor reshaped(Shape shape) const;             // same elements, another shape
  Tensor rows(int64_t begin, int64_t end) const;  // a slice of the outermost axis, shared

 private:
  void check_type(size_t element_bytes) const;

  Shape shape_;
  DType dtype_ = DType::float32;
  std::shared_ptr<Storage> storage_;
  size_t offset_ = 0;
};

}  // namespace hp
