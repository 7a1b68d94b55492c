// DnnlState: everything the CPU kernels keep of oneDNN: engine, stream, scratch memory and the primitives made so far.
#pragma once

#include <array>
#include <cstdint>
#include <dnnl.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/kernels.h"

namespace hp {

// A primitive with its argument list. It is made once per shape; to run it again is to set pointers, which allocates
// nothing.
class DnnlCall {
 public:
  struct Argument {
    int index;  // DNNL_ARG_...
    dnnl::memory::desc layout;
  };
  DnnlCall(const dnnl::engine& engine, const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
           const std::vector<Argument>& arguments);

  // Says where an argument lies; the second throws hp::Error if the memory has another layout than was declared.
  void point(int argument, const void* data);
  void point(int argument, const dnnl::memory& memory);
  dnnl::memory::desc layout(int argument) const;
  size_t scratchpad_bytes() const { return scratchpad_bytes_; }
  void execute(const dnnl::stream& stream);

 private:
  dnnl::primitive primitive_;
  size_t scratchpad_bytes_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

// Throws OutOfMemory unless there is room for the code of a primitive: oneDNN (2.6 at least) writes it without looking
// whether it got memory. To be called before each primitive is made.
void require_room_for_code();

// Appends the activation to what a primitive does to its result.
void append_activation(dnnl::post_ops& post_ops, Function activation);
// Does oneDNN have it?
bool has_activation(Function activation);

// What a convolution primitive computes; the last three are the epilogue of `forward`. An addend is read by the
// primitive or, where it would do that wrongly, lies in the output before the call.
enum class ConvUse { forward, input_gradient, weight_gradient };
enum class Addend { none, read, in_output };
struct ConvKey {
  Conv2d conv;
  ConvUse use = ConvUse::forward;
  bool bias = false;
  Addend addend = Addend::none;
  std::optional<Function> activation = {};
  bool operator==(const ConvKey&) const = default;
};
// y += into what is there if `sum`, + bias[column] if `bias`, then the activation. `packed`: b has the layout of
// product_layout().
struct MatmulKey {
  Matmul matmul;
  bool bias = false, sum = false, packed = false;
  std::optional<Function> activation = {};
  bool operator==(const MatmulKey& other) const;
};
// `rows` rows of every map of a HeadsMatmul without its softmax; images of a and b count as those of y.
struct HeadsKey {
  HeadsMatmul matmul;
  int64_t rows = 0;
  bool operator==(const HeadsKey&) const = default;
};
struct DnnlHash {
  size_t operator()(const ConvKey& key) const;
  size_t operator()(const MatmulKey& key) const;
  size_t operator()(const HeadsKey& key) const;
};

// The layout that a convolution wants for its weight; `name` tells two layouts apart. `addend` says how this shape
// takes one; `sums_last`: added in the output it is the last term, as where it is read, and not the first.
struct WeightLayout {
  dnnl::memory::desc desc;
  std::string name;
  Addend addend = Addend::none;
  bool sums_last = false;
};

// Axes, blocks and strides: two weights with the same name have the same bytes in the same places.
std::string layout_name(const dnnl::memory::desc& layout);

class DnnlPacked final : public Packed {
 public:
  DnnlPacked(const dnnl::memory::desc& layout, const dnnl::engine& engine);
  const dnnl::memory::desc& layout() const { return layout_; }
  const dnnl::memory& memory() const { return memory_; }

 private:
  dnnl::memory::desc layout_;
  Storage storage_;
  dnnl::memory memory_;
};

// oneDNN asks OpenMP for its thread count, when it makes a primitive and when it runs one; this lends it ours for the
// length of a scope.
class ThreadCount {
 public:
  explicit ThreadCount(int threads);
  ~ThreadCount();
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

class DnnlState {
 public:
  explicit DnnlState(int threads);

  // Runs on `threads` threads in the scratch memory kept here.
  void run(DnnlCall& call);
  // Copies between two layouts of the same array.
  void reorder(const dnnl::memory& from, const dnnl::memory& to);
  // Memory of at least `bytes` that lives until the next call with the same slot.
  enum class Scratch { library, weight_gradient, columns, sums, winograd, products, panels, addend, squares };
  void* scratch(Scratch slot, size_t bytes);

  const dnnl::engine& engine() const { return engine_; }
  int threads() const { return threads_; }  // lend them while a primitive is made

  std::unordered_map<ConvKey, DnnlCall, DnnlHash> convolutions;
  std::unordered_map<ConvKey, WeightLayout, DnnlHash> weight_layouts;
  std::unordered_map<MatmulKey, DnnlCall, DnnlHash> matmuls;
  std::unordered_map<HeadsKey, DnnlCall, DnnlHash> heads_matmuls;

 private:
  int threads_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::array<Storage, 9> scratch_;
};

}  // namespace hp
