// A CPU device for tests: tensors from numbers and back.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/arena_pool.h"

namespace hp::test {

class TestDevice {
 public:
  Context context() { return {kernels_, pool_}; }
  CpuKernels& kernels() { return kernels_; }

  Tensor tensor(Shape shape, const std::vector<float>& values) {
    Tensor tensor = pool_.take(shape);
    kernels_.upload(values.data(), tensor.bytes(), tensor.floats());
    return tensor;
  }
  std::vector<float> values(const Tensor& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.count()));
    kernels_.download(tensor.floats(), tensor.bytes(), values.data());
    return values;
  }

 private:
  CpuKernels kernels_;
  ArenaPool pool_{kernels_};
};

}  // namespace hp::test
