// ConvPlan: everything that cuDNN wants to know of a convolution's shape, and by which algorithm it is computed.
#pragma once

#include <cudnn.h>

#include <optional>
#include <string>

#include "kernels/cuda/conv_algorithms.h"
#include "kernels/cuda/cuda_kernels.h"

namespace hp {

// A failed call of cuDNN becomes an hp::Error; `what` names the kernel.
void check(cudnnStatus_t status, const char* what);

// A descriptor that is destroyed with its owner.
template <class T, cudnnStatus_t (*create)(T*), cudnnStatus_t (*destroy)(T)>
class Descriptor {
 public:
  Descriptor() { check(create(&value_), "a descriptor"); }
  ~Descriptor() { destroy(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator T() const { return value_; }

 private:
  T value_ = nullptr;
};

using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;
using ActivationDescriptor =
    Descriptor<cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor, cudnnDestroyActivationDescriptor>;

// How one pass over a shape is computed: an algorithm of cuDNN and the bytes of scratch that it takes.
template <class Algorithm>
struct ConvWay {
  Algorithm algorithm;
  size_t scratch_bytes;
};

// Arrays have their channels last. All algorithms are deterministic: where choices are measured, the fastest one of
// those; otherwise one that every shape has. A way is made when it is first asked for.
class ConvPlan {
 public:
  ConvPlan(const Conv2d& c, MathMode math);

  TensorDescriptor x, y, bias;
  FilterDescriptor w;
  ConvolutionDescriptor conv;
  ActivationDescriptor activation[2];  // none, relu
  bool fuses = true;                   // until cuDNN says that it has no fused epilogue for this shape

  const ConvWay<cudnnConvolutionFwdAlgo_t>& forward(cudnnHandle_t handle, ConvAlgorithms& algorithms);
  // With bias, addend and activation, for which cuDNN has but one algorithm.
  const ConvWay<cudnnConvolutionFwdAlgo_t>& fused_forward(cudnnHandle_t handle);
  const ConvWay<cudnnConvolutionBwdDataAlgo_t>& input_gradient(cudnnHandle_t handle, ConvAlgorithms& algorithms);
  const ConvWay<cudnnConvolutionBwdFilterAlgo_t>& weight_gradient(cudnnHandle_t handle, ConvAlgorithms& algorithms);

 private:
  // The algorithm that is kept under this pass's name, or else the one that `measure` finds, which is then kept.
  template <class Performance, class Algorithm, class Measure>
  Algorithm choose(ConvAlgorithms& algorithms, const char* pass, Algorithm usual, const Measure& measure) const;

  std::string name_;  // of shape and math mode
  cudnnMathType_t math_;
  std::optional<ConvWay<cudnnConvolutionFwdAlgo_t>> forward_, fused_forward_;
  std::optional<ConvWay<cudnnConvolutionBwdDataAlgo_t>> input_gradient_;
  std::optional<ConvWay<cudnnConvolutionBwdFilterAlgo_t>> weight_gradient_;
};

}  // namespace hp
