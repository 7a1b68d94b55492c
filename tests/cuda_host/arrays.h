// Arrays on their way to the device and back.
#pragma once

#include <memory>

#include "runtime/kernels.h"
#include "runtime/tensor.h"

namespace hp::test {

inline Tensor to_device(Kernels& kernels, const Tensor& host) {
  Tensor tensor(host.shape(), host.dtype(), std::make_shared<Storage>(kernels.allocate(host.bytes())));
  kernels.upload(host.bytes_begin(), host.bytes(), tensor.bytes_begin());
  return tensor;
}

inline Tensor to_cpu(Kernels& kernels, const Tensor& tensor) {
  Tensor host = Tensor::host(tensor.shape());
  kernels.download(tensor.bytes_begin(), tensor.bytes(), host.bytes_begin());
  return host;
}

}  // namespace hp::test
