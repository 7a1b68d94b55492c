#include "kernels/cpu/dnnl_state.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>

#include "runtime/error.h"
#include "runtime/out_of_memory.h"

namespace hp {

namespace {

// Multiply-and-fold over the key's numbers.
class Mixer {
 public:
  Mixer& operator<<(int64_t value) {
    state_ = (state_ ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u;
    state_ ^= state_ >> 29;
    return *this;
  }
  size_t value() const { return state_; }

 private:
  uint64_t state_ = 0x243f6a8885a308d3u;
};

int64_t number_of(std::optional<Function> activation) { return activation ? static_cast<int64_t>(*activation) + 1 : 0; }

size_t position(const std::vector<dnnl_exec_arg_t>& arguments, int argument) {
  const auto found = std::find_if(arguments.begin(), arguments.end(),
                                  [argument](const dnnl_exec_arg_t& entry) { return entry.arg == argument; });
  require(found != arguments.end(), "[dnnl] argument {} was never added to this primitive", argument);
  return static_cast<size_t>(found - arguments.begin());
}

}  // namespace

DnnlCall::DnnlCall(const dnnl::engine& engine, const dnnl::primitive& primitive, const dnnl::memory::desc& scratchpad,
                   const std::vector<Argument>& arguments)
    : primitive_(primitive), scratchpad_bytes_(scratchpad.get_size()) {
  const auto add = [&](int index, const dnnl::memory::desc& layout) {
    memories_.push_back(dnnl::memory(layout, engine, DNNL_MEMORY_NONE));
    arguments_.push_back({index, memories_.back().get()});
  };
  for (const Argument& argument : arguments) add(argument.index, argument.layout);
  if (scratchpad_bytes_ > 0) add(DNNL_ARG_SCRATCHPAD, scratchpad);
}

void DnnlCall::point(int argument, const void* data) {
  // The library's interface has no const; it writes to outputs only.
  memories_[position(arguments_, argument)].set_data_handle(const_cast<void*>(data));
}

void DnnlCall::point(int argument, const dnnl::memory& memory) {
  const size_t at = position(arguments_, argument);
  const dnnl_memory_desc_t *wanted = nullptr, *given = nullptr;
  dnnl_memory_get_memory_desc(memories_[at].get(), &wanted);
  dnnl_memory_get_memory_desc(memory.get(), &given);
  require(dnnl_memory_desc_equal(wanted, given) != 0,
          "[conv2d] a packed weight does not fit this shape; got another layout than the primitive's; expected the one "
          "that pack() makes for the same shape and use");
  arguments_[at].memory = memory.get();
}

dnnl::memory::desc DnnlCall::layout(int argument) const { return memories_[position(arguments_, argument)].get_desc(); }

void DnnlCall::execute(const dnnl::stream& stream) {
  const int count = static_cast<int>(arguments_.size());
  const dnnl_status_t status = dnnl_primitive_execute(primitive_.get(), stream.get(), count, arguments_.data());
  require(status == dnnl_success, "[dnnl] a primitive failed with status {}", static_cast<int>(status));
}

void require_room_for_code() {
  constexpr size_t room = size_t{16} << 20;
  // Asked of the system, as oneDNN does: the heap may have free blocks that code cannot lie in. Given back untouched.
  void* block = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw OutOfMemory(room);
  munmap(block, room);
}

bool has_activation(Function activation) {
  return activation == Function::relu || activation == Function::gelu || activation == Function::gelu_tanh ||
         activation == Function::quick_gelu || activation == Function::silu;
}

void append_activation(dnnl::post_ops& post_ops, Function activation) {
  switch (activation) {
    case Function::relu:
      return post_ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    case Function::gelu:
      return post_ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_erf, 0.0f, 0.0f);
    case Function::gelu_tanh:
      return post_ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_tanh, 0.0f, 0.0f);
    case Function::quick_gelu:
      return post_ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_swish, 1.702f, 0.0f);
    case Function::silu:
      return post_ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_swish, 1.0f, 0.0f);
    default:
      fail("[dnnl] no such activation behind a product; got function {}; expected relu, a GELU or SiLU",
           static_cast<int>(activation));
  }
}

bool MatmulKey::operator==(const MatmulKey& other) const {
  const Matmul& a = matmul;
  const Matmul& b = other.matmul;
  return a.batch == b.batch && a.m == b.m && a.n == b.n && a.k == b.k && a.transpose_a == b.transpose_a &&
         a.transpose_b == b.transpose_b && bias == other.bias && sum == other.sum && packed == other.packed &&
         activation == other.activation;
}

size_t DnnlHash::operator()(const ConvKey& key) const {
  const Conv2d& c = key.conv;
  const int64_t flags = static_cast<int64_t>(key.use) * 8 + static_cast<int64_t>(key.addend) * 2 + key.bias;
  Mixer mixer;
  mixer << c.batch << c.height << c.width << c.channels << c.filters << c.kernel_height << c.kernel_width << c.stride
        << c.padding << c.dilation << c.groups << flags << number_of(key.activation);
  return mixer.value();
}

size_t DnnlHash::operator()(const MatmulKey& key) const {
  const Matmul& m = key.matmul;
  Mixer mixer;
  mixer << m.batch << m.m << m.n << m.k << (m.transpose_a * 2 + m.transpose_b)
        << (key.packed * 4 + key.bias * 2 + key.sum) << number_of(key.activation);
  return mixer.value();
}

size_t DnnlHash::operator()(const HeadsKey& key) const {
  const HeadsMatmul& m = key.matmul;
  Mixer mixer;
  mixer << m.batch << m.a_images << m.b_images << m.heads << m.m << m.n << m.k
        << (static_cast<int64_t>(m.map) * 8 + m.transpose_a * 4 + m.transpose_b * 2 + m.softmax)
        << __builtin_bit_cast(int32_t, m.scale) << key.rows;
  return mixer.value();
}

std::string layout_name(const dnnl::memory::desc& layout) {
  const dnnl_memory_desc_t& d = layout.data;
  const auto& blocking = d.format_desc.blocking;
  std::string name = fmt::format("{}", fmt::join(d.dims, d.dims + d.ndims, "x"));
  name += fmt::format(" strides {}", fmt::join(blocking.strides, blocking.strides + d.ndims, ","));
  for (int i = 0; i < blocking.inner_nblks; ++i) {
    name += fmt::format(" {}{}", blocking.inner_blks[i], static_cast<char>('a' + blocking.inner_idxs[i]));
  }
  return name;
}

DnnlPacked::DnnlPacked(const dnnl::memory::desc& layout, const dnnl::engine& engine)
    : layout_(layout), storage_(allocate_host(layout.get_size())), memory_(layout, engine, storage_.data()) {}

ThreadCount::ThreadCount(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }

ThreadCount::~ThreadCount() { omp_set_num_threads(before_); }

DnnlState::DnnlState(int threads) : threads_(threads), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {}

void DnnlState::run(DnnlCall& call) {
  const ThreadCount lent(threads_);
  if (call.scratchpad_bytes() > 0) {
    call.point(DNNL_ARG_SCRATCHPAD, scratch(Scratch::library, call.scratchpad_bytes()));
  }
  call.execute(stream_);
}

void DnnlState::reorder(const dnnl::memory& from, const dnnl::memory& to) {
  require_room_for_code();
  const ThreadCount lent(threads_);
  dnnl::reorder(from, to).execute(stream_, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void* DnnlState::scratch(Scratch slot, size_t bytes) {
  Storage& storage = scratch_[static_cast<size_t>(slot)];
  if (storage.bytes() < bytes) {
    storage = Storage();  // before the larger one is asked for
    storage = allocate_host(bytes);
  }
  return storage.data();
}

}  // namespace hp
