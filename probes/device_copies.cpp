#include "probes/device_copies.h"

#include <charconv>

#include "runtime/error.h"

namespace hp {
namespace {

constexpr const char* steps_key = "optimizer.steps";

}  // namespace

Tensor zeros(Kernels& kernels, const Shape& shape) {
  const size_t bytes = static_cast<size_t>(shape.count()) * sizeof(float);
  const Tensor tensor(shape, DType::float32, std::make_shared<Storage>(kernels.allocate(bytes)));
  kernels.fill(shape.count(), 0, tensor.floats());
  return tensor;
}

Tensor to_host(Kernels& kernels, const Tensor& tensor) {
  const Tensor host = Tensor::host(tensor.shape());
  kernels.download(tensor.floats(), tensor.bytes(), host.floats());
  return host;
}

void read_state(Kernels& kernels, const Parameters& state, const std::string& name, const Tensor& into) {
  const Tensor& from = state.at(name);
  require(from.shape() == into.shape() && from.dtype() == DType::float32,
          "[training] the state's tensor '{}' does not fit; got {}; expected float32 {}", name, from.shape().str(),
          into.shape().str());
  kernels.upload(from.floats(), from.bytes(), into.floats());
}

void write_steps(Parameters& state, int64_t steps) { state.metadata[steps_key] = std::to_string(steps); }

int64_t read_steps(const Parameters& state) {
  const auto steps = state.metadata.find(steps_key);
  int64_t count = -1;
  if (steps != state.metadata.end()) {
    std::from_chars(steps->second.data(), steps->second.data() + steps->second.size(), count);
  }
  require(count >= 0, "[training] the state says nothing of the optimiser's steps; expected '{}'", steps_key);
  return count;
}

}  // namespace hp
