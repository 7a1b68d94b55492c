#include "kernels/cuda/conv_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runtime/error.h"

namespace hp {

namespace {

// Deterministic algorithms that cuDNN has for every shape in this layout.
constexpr auto usual_forward = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
constexpr auto usual_input_gradient = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
constexpr auto usual_weight_gradient = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
// An algorithm that wants more scratch would leave too little for batches.
constexpr size_t most_scratch = size_t{1} << 30;

void set_tensor(const TensorDescriptor& tensor, int64_t batch, int64_t channels, int64_t height, int64_t width) {
  check(cudnnSetTensor4dDescriptor(tensor, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, static_cast<int>(batch),
                                   static_cast<int>(channels), static_cast<int>(height), static_cast<int>(width)),
        "a tensor's shape");
}

const char* name_of(MathMode math) {
  if (math == MathMode::bf16) return "bf16";
  return math == MathMode::tf32 ? "tf32" : "fp32";
}

}  // namespace

void check(cudnnStatus_t status, const char* what) {
  require(status == CUDNN_STATUS_SUCCESS, "[cuda] {} failed in cuDNN; got {}; expected success", what,
          cudnnGetErrorString(status));
}

ConvPlan::ConvPlan(const Conv2d& c, MathMode math)
    : name_(fmt::format("{} {}x{}x{}x{} by {}x{}x{} stride {} padding {} dilation {} groups {}", name_of(math), c.batch,
                        c.height, c.width, c.channels, c.filters, c.kernel_height, c.kernel_width, c.stride, c.padding,
                        c.dilation, c.groups)),
      // The default math may round inputs to tf32, which keeps every bfloat16 as it is; fused multiply-adds do not.
      math_(math == MathMode::fp32 ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  set_tensor(x, c.batch, c.channels, c.height, c.width);
  set_tensor(y, c.batch, c.filters, c.out_height(), c.out_width());
  set_tensor(bias, 1, c.filters, 1, 1);
  check(cudnnSetFilter4dDescriptor(w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, narrow(c.filters),
                                   narrow(c.channels / c.groups), narrow(c.kernel_height), narrow(c.kernel_width)),
        "a filter's shape");
  const int padding = narrow(c.padding), stride = narrow(c.stride), dilation = narrow(c.dilation);
  check(cudnnSetConvolution2dDescriptor(conv, padding, padding, stride, stride, dilation, dilation,
                                        CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "a convolution's geometry");
  check(cudnnSetConvolutionGroupCount(conv, narrow(c.groups)), "a convolution's groups");
  check(cudnnSetConvolutionMathType(conv, math_), "a convolution's math");
  check(cudnnSetActivationDescriptor(activation[0], CUDNN_ACTIVATION_IDENTITY, CUDNN_PROPAGATE_NAN, 0),
        "no activation");
  check(cudnnSetActivationDescriptor(activation[1], CUDNN_ACTIVATION_RELU, CUDNN_PROPAGATE_NAN, 0), "an activation");
}

template <class Performance, class Algorithm, class Measure>
Algorithm ConvPlan::choose(ConvAlgorithms& algorithms, const char* pass, Algorithm usual,
                           const Measure& measure) const {
  if (!algorithms.are_measured()) return usual;
  const std::string convolution = fmt::format("{} {}", pass, name_);
  if (const auto kept = algorithms.find(convolution)) return static_cast<Algorithm>(*kept);
  std::array<Performance, 8> found{};
  int count = 0;
  check(measure(static_cast<int>(found.size()), &count, found.data()), pass);
  const auto end = found.begin() + count;  // the fastest first
  const auto best = std::find_if(found.begin(), end, [&](const Performance& p) {
    return p.status == CUDNN_STATUS_SUCCESS && p.determinism == CUDNN_DETERMINISTIC && p.mathType == math_ &&
           p.memory <= most_scratch;
  });
  const Algorithm algorithm = best == end ? usual : best->algo;
  algorithms.remember(convolution, static_cast<int>(algorithm));
  return algorithm;
}

const ConvWay<cudnnConvolutionFwdAlgo_t>& ConvPlan::forward(cudnnHandle_t handle, ConvAlgorithms& algorithms) {
  if (forward_) return *forward_;
  const auto algorithm = choose<cudnnConvolutionFwdAlgoPerf_t>(
      algorithms, "forward", usual_forward, [&](int most, int* count, cudnnConvolutionFwdAlgoPerf_t* found) {
        return cudnnFindConvolutionForwardAlgorithm(handle, x, w, conv, y, most, count, found);
      });
  size_t bytes = 0;
  check(cudnnGetConvolutionForwardWorkspaceSize(handle, x, w, conv, y, algorithm, &bytes), "conv2d");
  return forward_.emplace(algorithm, bytes);
}

const ConvWay<cudnnConvolutionFwdAlgo_t>& ConvPlan::fused_forward(cudnnHandle_t handle) {
  if (fused_forward_) return *fused_forward_;
  size_t bytes = 0;
  check(cudnnGetConvolutionForwardWorkspaceSize(handle, x, w, conv, y, usual_forward, &bytes), "conv2d");
  return fused_forward_.emplace(usual_forward, bytes);
}

const ConvWay<cudnnConvolutionBwdDataAlgo_t>& ConvPlan::input_gradient(cudnnHandle_t handle,
                                                                       ConvAlgorithms& algorithms) {
  if (input_gradient_) return *input_gradient_;
  const auto algorithm = choose<cudnnConvolutionBwdDataAlgoPerf_t>(
      algorithms, "input gradient", usual_input_gradient,
      [&](int most, int* count, cudnnConvolutionBwdDataAlgoPerf_t* found) {
        return cudnnFindConvolutionBackwardDataAlgorithm(handle, w, y, conv, x, most, count, found);
      });
  size_t bytes = 0;
  check(cudnnGetConvolutionBackwardDataWorkspaceSize(handle, w, y, conv, x, algorithm, &bytes),
        "conv2d_input_gradient");
  return input_gradient_.emplace(algorithm, bytes);
}

const ConvWay<cudnnConvolutionBwdFilterAlgo_t>& ConvPlan::weight_gradient(cudnnHandle_t handle,
                                                                          ConvAlgorithms& algorithms) {
  if (weight_gradient_) return *weight_gradient_;
  const auto algorithm = choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
      algorithms, "weight gradient", usual_weight_gradient,
      [&](int most, int* count, cudnnConvolutionBwdFilterAlgoPerf_t* found) {
        return cudnnFindConvolutionBackwardFilterAlgorithm(handle, x, y, conv, w, most, count, found);
      });
  size_t bytes = 0;
  check(cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, x, y, conv, w, algorithm, &bytes),
        "conv2d_weight_gradient");
  return weight_gradient_.emplace(algorithm, bytes);
}

}  // namespace hp
