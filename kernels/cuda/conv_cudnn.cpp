// Convolutions by cuDNN, channels last, with algorithms that are deterministic. cuDNN 9 keeps its descriptor interface
// beside the newer graphs.
#include <cudnn.h>
#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <map>

#include "kernels/cuda/conv_plan.h"
#include "kernels/cuda/cuda_state.h"
#include "kernels/cuda/rounding.h"
#include "runtime/error.h"

namespace hp {

namespace {

constexpr float one = 1, zero = 0;

int64_t in_size(const Conv2d& c) { return c.height * c.width * c.channels; }
int64_t out_size(const Conv2d& c) { return c.out_height() * c.out_width() * c.filters; }

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

// The input as the math mode wants it: itself, or a rounded copy.
const float* rounded(CudaState& state, CudaState::Scratch purpose, int64_t count, const float* x) {
  if (state.math() != MathMode::bf16) return x;
  auto* copy = static_cast<float*>(state.scratch(purpose, static_cast<size_t>(count) * sizeof(float)));
  round_to_bfloat16(state, count, x, copy);
  return copy;
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
  CudnnState(cudaStream_t stream, ConvAlgorithms kept) : algorithms(std::move(kept)) {
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
    return plans_.try_emplace(key, c, math).first->second;
  }

  ConvAlgorithms algorithms;

 private:
  using Key = std::array<int64_t, 11>;
  cudnnHandle_t handle_ = nullptr;
  std::map<Key, ConvPlan> plans_;
};

void FreeCudnn::operator()(CudnnState* state) const { delete state; }

CudnnState& CudaState::cudnn() {
  if (!cudnn_) {
    std::string machine = fmt::format("{}, cuDNN {}", properties_.name, cudnnGetVersion());
    cudnn_.reset(new CudnnState(stream_, {options_.algorithms, std::move(machine)}));
  }
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
  auto* weight = const_cast<float*>(weight_of(packed, c));
  copy_block(reorder(c, true), w, weight);
  if (state_->math() == MathMode::bf16) round_to_bfloat16(*state_, c.weight_count(), weight, weight);
}

void CudaKernels::conv2d(const Conv2d& conv, const Packed& w, const Epilogue& epilogue, const float* x, float* y) {
  CudnnState& cudnn = state_->cudnn();
  const float* weight = weight_of(w, conv);
  const bool relu = epilogue.activation == Function::relu;
  const bool plain = !epilogue.bias && !epilogue.addend && !relu;
  const float* bias = epilogue.bias || plain ? epilogue.bias : state_->zeros(conv.filters);
  for_batches(conv, [&](const Conv2d& c, int64_t first) {
    ConvPlan& plan = cudnn.plan(c, state_->math());
    const float* in = rounded(*state_, CudaState::Scratch::rounded, c.batch * in_size(c), x + first * in_size(c));
    float* out = y + first * out_size(c);
    const float* addend = epilogue.addend ? epilogue.addend + first * out_size(c) : nullptr;
    if (!plain && plan.fuses) {
      const auto& way = plan.fused_forward(cudnn.handle());
      void* scratch = state_->scratch(CudaState::Scratch::library, way.scratch_bytes);
      const cudnnStatus_t status = cudnnConvolutionBiasActivationForward(
          cudnn.handle(), &one, plan.x, in, plan.w, weight, plan.conv, way.algorithm, scratch, way.scratch_bytes,
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
    const auto& way = plan.forward(cudnn.handle(), cudnn.algorithms);
    void* scratch = state_->scratch(CudaState::Scratch::library, way.scratch_bytes);
    check(cudnnConvolutionForward(cudnn.handle(), &one, plan.x, in, plan.w, weight, plan.conv, way.algorithm, scratch,
                                  way.scratch_bytes, in_place ? &one : &zero, plan.y, out),
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
    ConvPlan& plan = cudnn.plan(c, state_->math());
    const auto& way = plan.input_gradient(cudnn.handle(), cudnn.algorithms);
    void* scratch = state_->scratch(CudaState::Scratch::library, way.scratch_bytes);
    const float* message =
        rounded(*state_, CudaState::Scratch::rounded_message, c.batch * out_size(c), dy + first * out_size(c));
    check(cudnnConvolutionBackwardData(cudnn.handle(), &one, plan.w, weight, plan.y, message, plan.conv, way.algorithm,
                                       scratch, way.scratch_bytes, &zero, plan.x, dx + first * in_size(c)),
          "conv2d_input_gradient");
  });
}

void CudaKernels::conv2d_weight_gradient(const Conv2d& conv, const float* x, const float* dy, float* dw) {
  CudnnState& cudnn = state_->cudnn();
  auto* packed = static_cast<float*>(
      state_->scratch(CudaState::Scratch::weight_gradient, static_cast<size_t>(conv.weight_count()) * sizeof(float)));
  for_batches(conv, [&](const Conv2d& c, int64_t first) {
    ConvPlan& plan = cudnn.plan(c, state_->math());
    const auto& way = plan.weight_gradient(cudnn.handle(), cudnn.algorithms);
    void* scratch = state_->scratch(CudaState::Scratch::library, way.scratch_bytes);
    const float* in = rounded(*state_, CudaState::Scratch::rounded, c.batch * in_size(c), x + first * in_size(c));
    const float* message =
        rounded(*state_, CudaState::Scratch::rounded_message, c.batch * out_size(c), dy + first * out_size(c));
    check(cudnnConvolutionBackwardFilter(cudnn.handle(), &one, plan.x, in, plan.y, message, plan.conv, way.algorithm,
                                         scratch, way.scratch_bytes, first == 0 ? &zero : &one, plan.w, packed),
          "conv2d_weight_gradient");
  });
  copy_block(reorder(conv, false), packed, dw);
}

}  // namespace hp
