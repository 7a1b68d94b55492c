#include <algorithm>
#include <string_view>

#include "kernels/cpu/columns_dnnl.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/matmul_dnnl.h"
#include "kernels/cpu/winograd.h"
#include "runtime/error.h"

namespace hp {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;
constexpr auto f32 = memory::data_type::f32;

// The descriptors that all primitives of one convolution share. oneDNN names axes in the order N, C, H, W whatever
// the layout, and counts dilation from 0.
struct ConvDescs {
  memory::desc x, y, weight, plain_weight, bias;
  memory::dims strides, dilates, padding;

  explicit ConvDescs(const Conv2d& c)
      : x({c.batch, c.channels, c.height, c.width}, f32, Tag::nhwc),
        y({c.batch, c.filters, c.out_height(), c.out_width()}, f32, Tag::nhwc),
        weight(weight_dims(c), f32, Tag::any),
        plain_weight(weight_dims(c), f32, c.groups > 1 ? Tag::goihw : Tag::oihw),
        bias({c.filters}, f32, Tag::a),
        strides{c.stride, c.stride},
        dilates{c.dilation - 1, c.dilation - 1},
        padding{c.padding, c.padding} {}

  static memory::dims weight_dims(const Conv2d& c) {
    if (c.groups == 1) return {c.filters, c.channels, c.kernel_height, c.kernel_width};
    return {c.groups, c.filters / c.groups, c.channels / c.groups, c.kernel_height, c.kernel_width};
  }
};

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

dnnl::primitive_attr epilogue_attributes(const ConvKey& key, const ConvDescs& descs) {
  dnnl::primitive_attr attributes = user_scratchpad();
  dnnl::post_ops post_ops;
  if (key.addend == Addend::read) post_ops.append_binary(dnnl::algorithm::binary_add, descs.y);
  if (key.addend == Addend::in_output) post_ops.append_sum(1.0f);
  if (key.activation) append_activation(post_ops, *key.activation);
  attributes.set_post_ops(post_ops);
  return attributes;
}

bool is_batch_reduce(const dnnl::convolution_forward::primitive_desc& desc) {
  return std::string_view(desc.impl_info_str()).starts_with("brg");
}

// Where version 2.6.3's batch-reduce convolutions are faster (5 to 15 % on an Intel Xeon with full-width AVX-512, up to
// 5 % on an AMD EPYC): with a block of channels, or the stem's three. They crash where the padding is larger than the
// kernel, and take an addend only where the output lies.
bool suits_batch_reduce(const Conv2d& c) {
  const bool gathers = c.kernel_height * c.kernel_width > 1 || c.stride > 1;
  return gathers && c.padding < std::min(c.kernel_height, c.kernel_width) && c.groups == 1 && c.dilation == 1 &&
         (c.channels >= 64 || c.channels == 3);
}

// The first implementation of the family that suits the shape; of the others, if there is none.
dnnl::convolution_forward::primitive_desc forward_desc(const ConvKey& key, const ConvDescs& descs,
                                                       const dnnl::engine& engine) {
  using Forward = dnnl::convolution_forward;
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const auto desc = key.bias ? Forward::desc(kind, algorithm, descs.x, descs.weight, descs.bias, descs.y, descs.strides,
                                             descs.dilates, descs.padding, descs.padding)
                             : Forward::desc(kind, algorithm, descs.x, descs.weight, descs.y, descs.strides,
                                             descs.dilates, descs.padding, descs.padding);
  const auto attributes = epilogue_attributes(key, descs);
  if (suits_batch_reduce(key.conv)) {
    Forward::primitive_desc candidate(desc, attributes, engine);
    do {
      if (is_batch_reduce(candidate)) return candidate;
    } while (candidate.next_impl());
  }
  Forward::primitive_desc result(desc, attributes, engine);
  while (is_batch_reduce(result) && result.next_impl()) {
  }
  return result;
}

dnnl::convolution_forward::primitive_desc training_hint(const ConvDescs& descs, const dnnl::engine& engine) {
  return {{dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, descs.x, descs.weight, descs.y,
           descs.strides, descs.dilates, descs.padding, descs.padding},
          engine};
}

dnnl::convolution_backward_data::primitive_desc input_gradient_desc(const ConvDescs& descs,
                                                                    const dnnl::engine& engine) {
  return {{dnnl::algorithm::convolution_direct, descs.x, descs.weight, descs.y, descs.strides, descs.dilates,
           descs.padding, descs.padding},
          user_scratchpad(),
          engine,
          training_hint(descs, engine)};
}

dnnl::convolution_backward_weights::primitive_desc weight_gradient_desc(const ConvDescs& descs,
                                                                        const dnnl::engine& engine) {
  return {{dnnl::algorithm::convolution_direct, descs.x, descs.weight, descs.y, descs.strides, descs.dilates,
           descs.padding, descs.padding},
          user_scratchpad(),
          engine,
          training_hint(descs, engine)};
}

// The library's matrix-product convolution reads the addend of another position: wrong results in channels-last maps,
// seen with version 2.6.3 and every instruction set. The reference loops are right but slow.
bool reads_addend(const dnnl::convolution_forward::primitive_desc& desc) {
  const std::string_view name = desc.impl_info_str();
  return name.find("gemm") == name.npos && name.find("ref") == name.npos;
}

// All epilogues of a shape share the layout that suits the fullest of them: with an addend, which the batch-reduce
// family takes in the output, and the others where it lies.
WeightLayout forward_layout(const Conv2d& conv, const dnnl::engine& engine) {
  const ConvDescs descs(conv);
  ConvKey key{.conv = conv, .bias = true, .addend = Addend::read, .activation = Function::relu};
  const auto desc = forward_desc(key, descs, engine);
  key.addend = Addend::in_output;
  const auto summed = forward_desc(key, descs, engine);
  const bool reads = reads_addend(desc) && !is_batch_reduce(summed);
  const bool sums_last = std::string_view(summed.impl_info_str()).find("avx512") != std::string_view::npos;
  const auto& chosen = reads ? desc : summed;
  return {chosen.weights_desc(), layout_name(chosen.weights_desc()), reads ? Addend::read : Addend::in_output,
          sums_last};
}

WeightLayout input_gradient_layout(const Conv2d& conv, const dnnl::engine& engine) {
  const auto desc = input_gradient_desc(ConvDescs(conv), engine).weights_desc();
  return {desc, layout_name(desc)};
}

const WeightLayout& weight_layout(DnnlState& dnnl, const Conv2d& conv, ConvUse use) {
  const ConvKey key{.conv = conv, .use = use};
  const auto known = dnnl.weight_layouts.find(key);
  if (known != dnnl.weight_layouts.end()) return known->second;
  const ThreadCount lent(dnnl.threads());
  WeightLayout layout =
      use == ConvUse::forward ? forward_layout(conv, dnnl.engine()) : input_gradient_layout(conv, dnnl.engine());
  return dnnl.weight_layouts.emplace(key, std::move(layout)).first->second;
}

// The position of the addend in the list of post-ops.
constexpr int addend_argument = DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1;

DnnlCall make_forward(const ConvKey& key, const ConvDescs& descs, const dnnl::engine& engine) {
  const auto desc = forward_desc(key, descs, engine);
  require(key.addend != Addend::read || reads_addend(desc), "[conv2d] no correct way to add; got {}",
          desc.impl_info_str());
  std::vector<DnnlCall::Argument> arguments{
      {DNNL_ARG_SRC, descs.x}, {DNNL_ARG_WEIGHTS, desc.weights_desc()}, {DNNL_ARG_DST, descs.y}};
  if (key.bias) arguments.push_back({DNNL_ARG_BIAS, descs.bias});
  if (key.addend == Addend::read) arguments.push_back({addend_argument, descs.y});
  return {engine, dnnl::convolution_forward(desc), desc.scratchpad_desc(), arguments};
}

DnnlCall make_input_gradient(const ConvDescs& descs, const dnnl::engine& engine) {
  const auto desc = input_gradient_desc(descs, engine);
  return {engine,
          dnnl::convolution_backward_data(desc),
          desc.scratchpad_desc(),
          {{DNNL_ARG_DIFF_DST, descs.y}, {DNNL_ARG_WEIGHTS, desc.weights_desc()}, {DNNL_ARG_DIFF_SRC, descs.x}}};
}

DnnlCall make_weight_gradient(const ConvDescs& descs, const dnnl::engine& engine) {
  const auto desc = weight_gradient_desc(descs, engine);
  return {engine,
          dnnl::convolution_backward_weights(desc),
          desc.scratchpad_desc(),
          {{DNNL_ARG_SRC, descs.x}, {DNNL_ARG_DIFF_DST, descs.y}, {DNNL_ARG_DIFF_WEIGHTS, desc.diff_weights_desc()}}};
}

DnnlCall& find_or_make(DnnlState& dnnl, const ConvKey& key) {
  const auto known = dnnl.convolutions.find(key);
  if (known != dnnl.convolutions.end()) return known->second;
  require_room_for_code();
  ConvDescs descs(key.conv);
  if (key.use != ConvUse::weight_gradient) descs.weight = weight_layout(dnnl, key.conv, key.use).desc;
  const ThreadCount lent(dnnl.threads());
  DnnlCall call = key.use == ConvUse::forward          ? make_forward(key, descs, dnnl.engine())
                  : key.use == ConvUse::input_gradient ? make_input_gradient(descs, dnnl.engine())
                                                       : make_weight_gradient(descs, dnnl.engine());
  return dnnl.convolutions.emplace(key, std::move(call)).first->second;
}

// The library's own convolutions are the same whatever the caller allows.
Conv2d exact(Conv2d conv) {
  conv.fast = conv.smooth = false;
  return conv;
}

const DnnlPacked& blocked(const Packed& packed) {
  const auto* weight = dynamic_cast<const DnnlPacked*>(&packed);
  require(weight != nullptr,
          "[conv2d] a packed weight does not fit this shape; got that of another algorithm; expected "
          "the one that pack() makes for it");
  return *weight;
}

ConvUse conv_use(PackUse use) { return use == PackUse::forward ? ConvUse::forward : ConvUse::input_gradient; }

}  // namespace

std::string CpuKernels::pack_format(const Conv2d& conv, PackUse use) {
  if (is_product(conv)) return product_layout(*dnnl_, conv, use).name;
  if (uses_winograd(conv, conv_use(use))) return winograd_format(conv, use);
  if (use == PackUse::input_gradient && uses_columns(conv)) return columns_format(conv);
  return weight_layout(*dnnl_, exact(conv), conv_use(use)).name;
}

std::unique_ptr<Packed> CpuKernels::pack(const Conv2d& conv, PackUse use, const float* w) {
  std::unique_ptr<Packed> packed;
  if (is_product(conv)) {
    const WeightLayout& layout = product_layout(*dnnl_, conv, use);
    if (layout.name == product_format) return std::make_unique<ProductWeight>(w);
    packed = std::make_unique<DnnlPacked>(layout.desc, dnnl_->engine());
  } else if (uses_winograd(conv, conv_use(use))) {
    packed = allocate_winograd(conv, use);
  } else if (use == PackUse::input_gradient && uses_columns(conv)) {
    packed = allocate_columns(conv);
  } else {
    packed = std::make_unique<DnnlPacked>(weight_layout(*dnnl_, exact(conv), conv_use(use)).desc, dnnl_->engine());
  }
  repack(conv, use, w, *packed);
  return packed;
}

void CpuKernels::repack(const Conv2d& conv, PackUse use, const float* w, Packed& packed) {
  if (is_product(conv)) return repack_product(conv, w, packed);
  if (uses_winograd(conv, conv_use(use))) return Winograd{*dnnl_, isa_}.pack(conv, use, w, packed);
  if (use == PackUse::input_gradient && uses_columns(conv)) return pack_columns(conv, w, packed);
  dnnl_->reorder(memory(ConvDescs(conv).plain_weight, dnnl_->engine(), const_cast<float*>(w)),
                 static_cast<DnnlPacked&>(packed).memory());
}

void CpuKernels::conv2d(const Conv2d& conv, const Packed& w, const Epilogue& epilogue, const float* x, float* y) {
  if (is_product(conv)) return product(conv, w, epilogue, x, y);
  if (uses_winograd(conv, ConvUse::forward)) {
    Winograd{*dnnl_, isa_}.forward(conv, w, {epilogue.bias, epilogue.addend}, x, y);
    const int64_t count = conv.batch * conv.out_height() * conv.out_width() * conv.filters;
    if (epilogue.activation) apply(*epilogue.activation, count, y, y);
    return;
  }
  ConvKey key{.conv = exact(conv), .bias = epilogue.bias != nullptr, .activation = epilogue.activation};
  const float* addend = epilogue.addend;
  if (addend) {
    const WeightLayout& layout = weight_layout(*dnnl_, key.conv, ConvUse::forward);
    const size_t bytes =
        sizeof(float) * static_cast<size_t>(conv.batch * conv.out_height() * conv.out_width() * conv.filters);
    key.addend = addend == y && layout.sums_last ? Addend::in_output : layout.addend;
    if (key.addend == Addend::in_output && addend != y) copy(addend, bytes, y);
    if (key.addend == Addend::read && addend == y) {
      auto* aside = static_cast<float*>(dnnl_->scratch(DnnlState::Scratch::addend, bytes));
      copy(y, bytes, aside);
      addend = aside;
    }
  }
  DnnlCall& call = find_or_make(*dnnl_, key);
  call.point(DNNL_ARG_SRC, x);
  call.point(DNNL_ARG_WEIGHTS, blocked(w).memory());
  call.point(DNNL_ARG_DST, y);
  if (key.bias) call.point(DNNL_ARG_BIAS, epilogue.bias);
  if (key.addend == Addend::read) call.point(addend_argument, addend);
  dnnl_->run(call);
}

void CpuKernels::conv2d_input_gradient(const Conv2d& conv, const Packed& w, const float* dy, float* dx) {
  if (is_product(conv)) return product_input_gradient(conv, w, dy, dx);
  if (uses_winograd(conv, ConvUse::input_gradient)) return Winograd{*dnnl_, isa_}.input_gradient(conv, w, dy, dx);
  if (uses_columns(conv)) return columns_input_gradient(conv, w, dy, dx);
  DnnlCall& call = find_or_make(*dnnl_, {.conv = exact(conv), .use = ConvUse::input_gradient});
  call.point(DNNL_ARG_DIFF_DST, dy);
  call.point(DNNL_ARG_WEIGHTS, blocked(w).memory());
  call.point(DNNL_ARG_DIFF_SRC, dx);
  dnnl_->run(call);
}

void CpuKernels::conv2d_weight_gradient(const Conv2d& conv, const float* x, const float* dy, float* dw) {
  if (is_product(conv)) return product_weight_gradient(conv, x, dy, dw);
  if (uses_winograd(conv, ConvUse::weight_gradient)) return Winograd{*dnnl_, isa_}.weight_gradient(conv, x, dy, dw);
  const ConvKey key{.conv = exact(conv), .use = ConvUse::weight_gradient};
  DnnlCall& call = find_or_make(*dnnl_, key);
  const memory::desc layout = call.layout(DNNL_ARG_DIFF_WEIGHTS);
  memory blocked(layout, dnnl_->engine(), dnnl_->scratch(DnnlState::Scratch::weight_gradient, layout.get_size()));
  call.point(DNNL_ARG_SRC, x);
  call.point(DNNL_ARG_DIFF_DST, dy);
  call.point(DNNL_ARG_DIFF_WEIGHTS, blocked.get_data_handle());
  dnnl_->run(call);
  dnnl_->reorder(blocked, memory(ConvDescs(conv).plain_weight, dnnl_->engine(), dw));
}

}  // namespace hp
