// Math modes: what they round, where, and that everything else stays float32.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kernels/cuda/cuda_kernels.h"
#include "tests/cuda_host/arrays.h"
#include "tests/cuda_host/tensor_cores.h"
#include "tests/support/small_nets.h"

namespace hp {

namespace {

using cuda_host::Mantissa;
using test::to_cpu;
using test::to_device;

Tensor device_tensor(Kernels& kernels, const Shape& shape) { return to_device(kernels, Tensor::host(shape)); }

Tensor rounded(const Tensor& tensor, Mantissa kept) {
  Tensor copy = Tensor::host(tensor.shape());
  for (int64_t i = 0; i < tensor.count(); ++i) copy.floats()[i] = cuda_host::round_mantissa(tensor.floats()[i], kept);
  return copy;
}

struct Inputs {
  Tensor x = testing::formula_tensor("x", {2, 6, 6, 8}), w = testing::formula_tensor("w", {4, 8, 3, 3}),
         dy = testing::formula_tensor("dy", {2, 6, 6, 4}), a = testing::formula_tensor("a", {6, 40}),
         b = testing::formula_tensor("b", {40, 5});

  Inputs as(Mantissa kept) const {
    return {rounded(x, kept), rounded(w, kept), rounded(dy, kept), rounded(a, kept), rounded(b, kept)};
  }
};

// The convolution with a bias of thirds, which no mode may round, both of its gradients, and a matrix product.
std::vector<Tensor> products(MathMode math, const Inputs& inputs) {
  CudaKernels kernels({.math = math});
  const Conv2d conv{.batch = 2,
                    .height = 6,
                    .width = 6,
                    .channels = 8,
                    .filters = 4,
                    .kernel_height = 3,
                    .kernel_width = 3,
                    .padding = 1};
  const Tensor x = to_device(kernels, inputs.x), w = to_device(kernels, inputs.w), dy = to_device(kernels, inputs.dy);
  const auto packed = kernels.pack(conv, PackUse::forward, w.floats());
  const Tensor bias =
      to_device(kernels, Tensor::host(Shape{4}, std::vector<float>{1.0f / 3, 2.0f / 3, 4.0f / 3, 5.0f / 3}));
  const Tensor y = device_tensor(kernels, inputs.dy.shape()), dx = device_tensor(kernels, inputs.x.shape()),
               dw = device_tensor(kernels, inputs.w.shape()), product = device_tensor(kernels, {6, 5});
  kernels.conv2d(conv, *packed, {.bias = bias.floats()}, x.floats(), y.floats());
  kernels.conv2d_input_gradient(conv, *packed, dy.floats(), dx.floats());
  kernels.conv2d_weight_gradient(conv, x.floats(), dy.floats(), dw.floats());
  kernels.matmul({.m = 6, .n = 5, .k = 40}, to_device(kernels, inputs.a).floats(),
                 to_device(kernels, inputs.b).floats(), product.floats());
  return {to_cpu(kernels, y), to_cpu(kernels, dx), to_cpu(kernels, dw), to_cpu(kernels, product)};
}

}  // namespace

TEST_CASE("a math mode rounds the inputs of products, and nothing else") {
  const Inputs inputs;
  const std::vector<Tensor> exact = products(MathMode::fp32, inputs);
  for (const auto& [math, kept] :
       {std::pair{MathMode::tf32, Mantissa::tf32}, std::pair{MathMode::bf16, Mantissa::bf16}}) {
    const std::vector<Tensor> got = products(math, inputs), want = products(MathMode::fp32, inputs.as(kept));
    // Inputs are off by up to half of the last bit that is kept.
    const double half_bit = std::ldexp(1.0, -static_cast<int>(kept) - 1);
    for (size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);
      CHECK(testing::relative_error(got[i], want[i]) <= 1e-6);
      CHECK(testing::relative_error(got[i], exact[i]) > 0.1 * half_bit);
      CHECK(testing::relative_error(got[i], exact[i]) < 2 * half_bit);
    }
  }
}

TEST_CASE("rounding to bfloat16: ties go to even, infinities and NaN stay") {
  CudaKernels kernels({.math = MathMode::bf16});
  const float infinity = std::numeric_limits<float>::infinity(), bit = std::ldexp(1.0f, -7);
  const Tensor w =
      Tensor::host({8, 1, 1, 1}, std::vector<float>{1, 1 + bit / 2, 1 + bit * 1.5f, 1 + bit * 0.51f, -1 - bit / 2,
                                                    infinity, std::numeric_limits<float>::quiet_NaN(), 0});
  const Conv2d conv{
      .batch = 1, .height = 1, .width = 1, .channels = 1, .filters = 8, .kernel_height = 1, .kernel_width = 1};
  const auto packed = kernels.pack(conv, PackUse::forward, to_device(kernels, w).floats());
  const Tensor y = device_tensor(kernels, {1, 1, 1, 8}),
               one = to_device(kernels, Tensor::host({1, 1, 1, 1}, std::vector<float>{1}));
  kernels.conv2d(conv, *packed, {}, one.floats(), y.floats());
  const Tensor rounded = to_cpu(kernels, y);
  const float* got = rounded.floats();
  CHECK(got[0] == 1);
  CHECK(got[1] == 1);
  CHECK(got[2] == 1 + 2 * bit);
  CHECK(got[3] == 1 + bit);
  CHECK(got[4] == -1);
  CHECK(got[5] == infinity);
  CHECK(std::isnan(got[6]));
  CHECK(got[7] == 0);
}

}  // namespace hp
