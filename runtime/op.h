// Op: one kind of node. It knows its output shape, its forward kernel, and the vector-Jacobian product of every input;
// nothing of relevance rules, which live in attribution/rules and need only what stands here.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/arena_pool.h"
#include "runtime/kernels.h"
#include "runtime/tensor.h"
#include "runtime/weight.h"

namespace hp {

enum class OpKind {
  input,
  parameter,
  conv2d,
  linear,
  batch_norm,
  batch_statistics,
  batch_normalise,
  batch_norm_train,
  layer_norm,
  group_norm,
  relu,
  sigmoid,
  tanh,
  gelu,
  gelu_tanh,
  quick_gelu,
  silu,
  affine,
  softmax,
  log_softmax,
  matmul,
  attention_scores,
  attention_values,
  max_pool,
  avg_pool,
  resize,
  add,
  mul,
  concat,
  slice,
  pad,
  reshape,
  patchify,
  prepend,
  rows,
  position_add,
  sin_cos,
  resize_positions,
  detach,
  unit_norm,
  patch_norm,
  bcos_scale,
  max_out,
  uncentred_norm,
  uncentred_norm_train,
  cross_entropy,
  binary_cross_entropy
};
std::string_view name_of(OpKind);

// What an input means to the op: data flows through, a weight multiplies it, a bias is added, statistics are constants
// per channel.
enum class Role { data, weight, bias, statistics };

// One input of a node. `weight` is set where the value comes from parameters alone, so that packs and derived forms can
// be kept.
struct Operand {
  Tensor tensor;
  Weight* weight = nullptr;
  const float* data() const { return tensor.empty() ? nullptr : tensor.floats(); }
};

// Work that following nodes would do and this op's kernel does on the way out: y + addend, then the activation; or
// scale * y, then the softmax along the last axis.
struct Fusion {
  const float* addend = nullptr;
  std::optional<Function> activation = {};
  float scale = 1;
  bool softmax = false;
};

// Everything a forward pass left at a node. Of a value that the vjp does not read there may be the shape alone.
struct Values {
  std::span<const Operand> inputs;
  Tensor output;
  Tensor saved;
};

// What a vector-Jacobian product towards data needs of the data that went through the node; weights, statistics and the
// saved output aside.
enum class Reads { nothing, inputs, output, everything };

struct Saved {
  Shape shape;
  DType dtype = DType::float32;
  bool none = true;
};

// Ops are immutable and shared between graphs; batch sizes come from the shapes, never from the op.
class Op {
 public:
  virtual ~Op() = default;
  virtual OpKind kind() const = 0;
  virtual std::string describe() const { return std::string(name_of(kind())); }  // "conv2d 3x3/2"

  virtual Shape infer(std::span<const Shape> in) const = 0;  // throws hp::Error("[conv2d] ...")
  virtual Saved saved(std::span<const Shape>) const {
    return {};
  }  // an extra output that the vjp wants: arg-max, statistics
  virtual void forward(Context, std::span<const Operand> in, const Fusion&, Tensor out, Tensor saved) const = 0;
  // Overwrites dx with the adjoint of input `which`. dy is [targets * batch, ...]; for weights, biases and statistics
  // targets is 1.
  virtual void vjp(Context, const Values&, const Tensor& dy, int targets, int which, Tensor dx) const = 0;

  // Where one computation gives the gradients of several inputs: all that are wanted (not empty), for one target.
  virtual bool vjps_together() const { return false; }
  virtual void vjps(Context, const Values&, const Tensor& dy, std::span<const Tensor> dx) const { (void)dy, (void)dx; }

  virtual Reads vjp_reads() const { return Reads::everything; }

  virtual Role role(int which) const { return which == 0 ? Role::data : Role::weight; }
  virtual bool linear_in(int) const {
    return false;
  }  // y is linear (with the bias: affine) in input `which`, others given
  virtual bool nonnegative(bool inputs_nonnegative) const {
    return (void)inputs_nonnegative, false;
  }  // is y >= 0 for certain?
  virtual bool fuses_addend() const { return false; }  // may forward get a Fusion with an addend?
  virtual bool fuses_relu() const { return false; }    // with relu?
  // Other activations, where nothing needs the value before them (runtime/plan.h)?
  virtual bool fuses_activation() const { return false; }
  virtual bool fuses_softmax() const { return false; }  // a scale and a softmax?
  virtual int64_t flops(std::span<const Shape>) const {
    return 0;
  }  // multiply and add count as two; 0 for memory-bound ops
};

using OpPtr = std::shared_ptr<const Op>;

}  // namespace hp
