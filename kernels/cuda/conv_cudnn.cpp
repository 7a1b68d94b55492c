// Convolutions by cuDNN, channels last, with algorithms that are deterministic.
//
// cuDNN 9 keeps its descriptor interface beside the newer graphs. In this layout it has one forward algorithm and one
// deterministic algorithm for either gradient, so nothing is measured and the bits are those of the shape.
#include <cudnn.h>
#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <map>
#include <tuple>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_state.h"
#include "runtime/error.h"

namespace hp {

namespace {

constexpr auto forward_algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
constexpr auto input_gradient_algorithm = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
constexpr auto weight_gradient_algorithm = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
constexpr float one = 1, zero = 0;

void check(cudnnStatus_t status, const char* what) {
  require(status == CUDNN_STATUS_SUCCESS, "[cuda] {} failed in cuDNN; got {}; expected success", what,
          cudnnGetErrorString(status));
}

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

int64_t in_size(const Conv2d& c) { return c.height * c.width * c.channels; }
int64_t out_size(const Conv2d& c) { return c.out_height() * c.out_width() * c.filters; }

void set_tensor(const TensorDescriptor& tensor, int64_t batch, int64_t channels, int64_t height, int64_t width) {
  check(cudnnSetTensor4dDescriptor(tensor, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, static_cast<int>(batch),
                                   static_cast<int>(channels), static_cast<int>(height), static_cast<int>(width)),
        "a tensor's shape");
}

// Everything that cuDNN wants to know of a shape; made once.
struct ConvPlan {
  TensorDescriptor x, y, bias;
  FilterDescriptor w;
  ConvolutionDescriptor conv;
  ActivationDescriptor activation[2];  // none, relu
  size_t forward_bytes = 0, input_gradient_bytes = 0, weight_gradient_bytes = 0;
  bool fuses = true;  // until cuDNN says that it has no fused epilogue for this shape

  ConvPlan(cudnnHandle_t handle, const Conv2d& c, MathMode math);
};

ConvPlan::ConvPlan(cudnnHandle_t handle, const Conv2d& c, MathMode math) {
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
  // The default math may round inputs to tf32; fused multiply-adds do not.
  check(cudnnSetConvolutionMathType(conv, math == MathMode::tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH),
        "a convolution's math");
  check(cudnnSetActivationDescriptor(activation[0], CUDNN_ACTIVATION_IDENTITY, CUDNN_PROPAGATE_NAN, 0),
        "no activation");
  check(cudnnSetActivationDescriptor(activation[1], CUDNN_ACTIVATION_RELU, CUDNN_PROPAGATE_NAN, 0), "an activation");
  check(cudnnGetConvolutionForwardWorkspaceSize(handle, x, w, conv, y, forward_algorithm, &forward_bytes), "conv2d");
  check(cudnnGetConvolutionBackwardDataWorkspaceSize(handle, w, y, conv, x, input_gradient_algorithm,
                                                     &input_gradient_bytes),
        "conv2d_input_gradient");
  check(cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, x, y, conv, w, weight_gradient_algorithm,
                                                       &weight_gradient_bytes),
        "conv2d_weight_gradient");
}

// [filters, kernel_height, kernel_width, channels/groups]: one pack serves the forward pass and the input's gradient.
struct CudaPacked : Packed {
  Storage storage;
  int64_t count;
  CudaPacked(Storage storage, int64_t count) : storage(std::move(storage)), count(count) {}
  const float* data() const { return reinterpret_cast<const float*>(storage.data()); }
};

// The copy that turns [filters, channels/groups, window] into the packed order, or back.
Block reorder(const Conv2d& c, bool pack) {
  const int64_t window = c.kernel_height * c.kernel_width, channels = c.channels / c.groups;
  Block block{.extent = {1, c.filters, window, channels},
              .src_stride = {0, channels * window, 1, window},
              .dst_stride = {0, channels * window, channels, 1}};
  if (!pack) std::swap(block.src_stride, block.dst_stride);
  return block;
}

const float* weight_of(const Packed& packed, const Conv2d& c) {
  const auto& weight = static_cast<const CudaPacked&>(packed);
  require(weight.count == c.weight_count(), "[cuda] a packed weight does not fit; got {} values; expected {}",
          weight.count, c.weight_count());
  return weight.data();
}

// f(part of the convolution, its first image) for parts of the batch whose arrays cuDNN can count in 32 bits.
template <class F>
void for_batches(const Conv2d& c, F f) {
  const int64_t most = std::max<int64_t>(INT_MAX / std::max(in_size(c), out_size(c)), 1);
  for (int64_t first = 0; first < c.batch; first += most) {
    Conv2d part = c;
    part.batch = std::min(most, c.batch - first);
    f(part, first);
  }
}

}  // namespace

class CudnnState {
 public:
  explicit CudnnState(cudaStream_t stream) {
    check(cudnnCreate(&handle_), "cudnnCreate");
    check(cudnnSetStream(handle_, stream), "cudnnSetStream");
  }
  ~CudnnState() {
    plans_.clear();
    cudnnDestroy(handle_);
  }
  CudnnState(const CudnnState&) = delete;
  CudnnState& operator=(const CudnnState&) = delete;

  cudnnHandle_t handle() const { return handle_; }

  ConvPlan& plan(const Conv2d& c, MathMode math) {
    const Key key{c.batch,        c.height, c.width,   c.channels, c.filters, c.kernel_height,
                  c.kernel_width, c.stride, c.padding, c.dilation, c.groups};
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    return plans_.try_emplace(key, handle_, c, math).first->second;
  }

 private:
  using Key = std::array<int64_t, 11>;
  cudnnHandle_t handle_ = nullptr;
  std::map<Key, ConvPlan> plans_;
};

void FreeCudnn::operator()(CudnnState* state) const { delete state; }

CudnnState& CudaState::cudnn() {
  if (!cudnn_) cudnn_.reset(new CudnnState(stream_));
  return *cudnn_;
}

std::string CudaKernels::pack_format(const Conv2d& c, PackUse) {
  return fmt::format("{}x{}x{}x{}", c.filters, c.kernel_height, c.kernel_width, c.channels / c.groups);
}

std::unique_ptr<Packed> CudaKernels::pack(const Conv2d& c, PackUse use, const float* w) {
  const auto bytes = static_cast<size_t>(c.weight_count()) * sizeof(float);
  auto packed = std::make_unique<CudaPacked>(allocate(bytes), c.weight_count());
  repack(c, use, w, *packed);
  return packed;
}

void CudaKernels::repack(const Conv2d& c, PackUse, const float* w, Packed& packed) {
  copy_block(reorder(c, true), w, const_cast<float*>(weight_of(packed, c)));
}

void CudaKernels::conv2d(const Conv2d& conv, const Packed& w, const Epilogue& epilogue, const float* x, float* y) {
  CudnnState& cudnn = state_->cudnn();
  const float* weight = weight_of(w, conv);
  const bool relu = epilogue.activation == Function::relu;
  const bool plain = !epilogue.bias && !epilogue.addend && !relu;
  const float* bias = epilogue.bias || plain ? epilogue.bias : state_->zeros(conv.filters);
  for_batches(conv, [&](const Conv2d& c, int64_t first) {
    ConvPlan& plan = cudnn.plan(c, state_->math());
    const float* in = x + first * in_size(c);
    float* out = y + first * out_size(c);
    const float* addend = epilogue.addend ? epilogue.addend + first * out_size(c) : nullptr;
    void* scratch = state_->scratch(CudaState::Scratch::library, plan.forward_bytes);
    if (!plain && plan.fuses) {
      const cudnnStatus_t status = cudnnConvolutionBiasActivationForward(
          cudnn.handle(), &one, plan.x, in, plan.w, weight, plan.conv, forward_algorithm, scratch, plan.forward_bytes,
          addend ? &one : &zero, plan.y, addend ? addend : out, plan.bias, bias, plan.activation[relu ? 1 : 0], plan.y,
          out);
      plan.fuses = status != CUDNN_STATUS_NOT_SUPPORTED;
      if (plan.fuses) {
        check(status, "conv2d with its epilogue");
        if (epilogue.activation && !relu) apply(*epilogue.activation, c.batch * out_size(c), out, out);
        return;
      }
    }
    const bool in_place = addend == out;
    check(cudnnConvolutionForward(cudnn.handle(), &one, plan.x, in, plan.w, weight, plan.conv, forward_algorithm,
                                  scratch, plan.forward_bytes, in_place ? &one : &zero, plan.y, out),
          "conv2d");
    if (in_place) addend = nullptr;
    const int64_t count = c.batch * out_size(c);
    if (epilogue.bias) combine(Binary::add, count, c.filters, out, epilogue.bias, out);
    if (addend && relu) return add_relu(count, out, addend, out);
    if (addend) combine(Binary::add, count, count, out, addend, out);
    if (epilogue.activation) apply(*epilogue.activation, count, out, out);
  });
}

void CudaKernels::conv2d_input_gradient(const Conv2d& conv, const Packed& w, const float* dy, float* dx) {
  CudnnState& cudnn = state_->cudnn();
  const float* weight = weight_of(w, conv);
  for_batches(conv, [&](const Conv2d& c, int64_t first) {
    const ConvPlan& plan = cudnn.plan(c, state_->math());
    void* scratch = state_->scratch(CudaState::Scratch::library, plan.input_gradient_bytes);
    check(cudnnConvolutionBackwardData(cudnn.handle(), &one, plan.w, weight, plan.y, dy + first * out_size(c),
                                       plan.conv, input_gradient_algorithm, scratch, plan.input_gradient_bytes, &zero,
                                       plan.x, dx + first * in_size(c)),
          "conv2d_input_gradient");
  });
}

void CudaKernels::conv2d_weight_gradient(const Conv2d& conv, const float* x, const float* dy, float* dw) {
  CudnnState& cudnn = state_->cudnn();
  auto* packed = static_cast<float*>(
      state_->scratch(CudaState::Scratch::weight_gradient, static_cast<size_t>(conv.weight_count()) * sizeof(float)));
  for_batches(conv, [&](const Conv2d& c, int64_t first) {
    const ConvPlan& plan = cudnn.plan(c, state_->math());
    void* scratch = state_->scratch(CudaState::Scratch::library, plan.weight_gradient_bytes);
    check(cudnnConvolutionBackwardFilter(cudnn.handle(), &one, plan.x, x + first * in_size(c), plan.y,
                                         dy + first * out_size(c), plan.conv, weight_gradient_algorithm, scratch,
                                         plan.weight_gradient_bytes, first == 0 ? &zero : &one, plan.w, packed),
          "conv2d_weight_gradient");
  });
  copy_block(reorder(conv, false), packed, dw);
}

}  // namespace hp
