#include "kernels/cpu/matmul_dnnl.h"

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/products.h"
#include "runtime/error.h"

namespace hp {

namespace {

// [batch, rows, columns], stored as its transpose if asked.
dnnl::memory::desc matrices(int64_t batch, int64_t rows, int64_t columns, bool transposed) {
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{rows * columns, 1, rows} : dnnl::memory::dims{rows * columns, columns, 1};
  return {{batch, rows, columns}, dnnl::memory::data_type::f32, strides};
}

// [rows, columns], stored as its transpose if asked: the layouts of packed weights have two axes.
dnnl::memory::desc matrix(int64_t rows, int64_t columns, bool transposed) {
  const dnnl::memory::dims strides = transposed ? dnnl::memory::dims{1, rows} : dnnl::memory::dims{columns, 1};
  return {{rows, columns}, dnnl::memory::data_type::f32, strides};
}

// As the library likes it best.
dnnl::memory::desc any_matrix(int64_t rows, int64_t columns) {
  return {{rows, columns}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any};
}

DnnlCall make_matmul(const MatmulKey& key, const DnnlState& dnnl) {
  require_room_for_code();
  const Matmul& m = key.matmul;
  const ThreadCount lent(dnnl.threads());
  const dnnl::engine& engine = dnnl.engine();
  const bool flat = key.packed;
  const auto a = flat ? matrix(m.m, m.k, m.transpose_a) : matrices(m.batch, m.m, m.k, m.transpose_a);
  const auto b = flat ? any_matrix(m.k, m.n) : matrices(m.batch, m.k, m.n, m.transpose_b);
  const auto y = flat ? matrix(m.m, m.n, false) : matrices(m.batch, m.m, m.n, false);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops post_ops;
  if (key.sum) post_ops.append_sum(1.0f);
  if (key.activation) append_activation(post_ops, *key.activation);
  attributes.set_post_ops(post_ops);
  const dnnl::memory::desc bias = flat ? matrix(1, m.n, false) : matrices(1, 1, m.n, false);
  const auto description = key.bias ? dnnl::matmul::desc(a, b, bias, y) : dnnl::matmul::desc(a, b, y);
  const dnnl::matmul::primitive_desc desc(description, attributes, engine);
  std::vector<DnnlCall::Argument> arguments{
      {DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, desc.weights_desc()}, {DNNL_ARG_DST, y}};
  if (key.bias) arguments.push_back({DNNL_ARG_BIAS, bias});
  return {engine, dnnl::matmul(desc), desc.scratchpad_desc(), arguments};
}

DnnlCall& find_or_make(DnnlState& dnnl, const MatmulKey& key) {
  const auto found = dnnl.matmuls.find(key);
  if (found != dnnl.matmuls.end()) return found->second;
  return dnnl.matmuls.emplace(key, make_matmul(key, dnnl)).first->second;
}

const float* plain(const Packed& packed) {
  const auto* weight = dynamic_cast<const ProductWeight*>(&packed);
  require(weight != nullptr,
          "[conv2d] a packed weight does not fit this shape; got a convolution's; expected the one that pack() makes "
          "for a product of rows");
  return weight->values;
}

// Of a product y (m x n) = x (m x k) w^T, whatever is done to y.
WeightLayout make_layout(const Conv2d& c, const DnnlState& dnnl) {
  const ThreadCount lent(dnnl.threads());
  const int64_t rows = c.batch * c.height * c.width;
  const dnnl::matmul::primitive_desc desc(
      {matrix(rows, c.channels, false), any_matrix(c.channels, c.filters), matrix(rows, c.filters, false)},
      dnnl.engine());
  const dnnl::memory::desc layout = desc.weights_desc();
  const bool blocked = layout.data.format_desc.blocking.inner_nblks > 0;
  return {layout, blocked ? "product " + layout_name(layout) : std::string(product_format)};
}

// Fewer rows are better served by a packed weight that is used again and again: explanations, not training.
constexpr int64_t fewest_rows = 32;

int64_t rows_of(const Conv2d& c) { return c.batch * c.height * c.width; }

// An inner product's: a tenth faster than the matmul primitive with its first operand transposed, and twenty times
// where the number of rows is odd (version 2.6.3).
DnnlCall make_weight_gradient(const Conv2d& c, const DnnlState& dnnl) {
  require_room_for_code();
  using dnnl::memory;
  const ThreadCount lent(dnnl.threads());
  const dnnl::engine& engine = dnnl.engine();
  const auto matrix = [](int64_t rows, int64_t columns) {
    return memory::desc({rows, columns}, memory::data_type::f32, memory::format_tag::ab);
  };
  const memory::desc x = matrix(rows_of(c), c.channels), dy = matrix(rows_of(c), c.filters),
                     dw = matrix(c.filters, c.channels);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::inner_product_forward::primitive_desc hint({dnnl::prop_kind::forward_training, x, dw, dy}, engine);
  const dnnl::inner_product_backward_weights::primitive_desc desc({x, dw, dy}, attributes, engine, hint);
  return {engine,
          dnnl::inner_product_backward_weights(desc),
          desc.scratchpad_desc(),
          {{DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_WEIGHTS, dw}}};
}

}  // namespace

bool is_product(const Conv2d& c) {
  const bool positions = c.height * c.width == 1 || (c.batch == 1 && c.width == 1);
  return positions && (c.fast || rows_of(c) >= fewest_rows) && c.kernel_height == 1 && c.kernel_width == 1 &&
         c.stride == 1 && c.padding == 0 && c.groups == 1;
}

const WeightLayout& product_layout(DnnlState& dnnl, const Conv2d& conv, PackUse use) {
  static const WeightLayout plain{{}, std::string(product_format)};
  if (conv.fast || use == PackUse::input_gradient) return plain;
  const ConvKey key{.conv = conv};
  const auto known = dnnl.weight_layouts.find(key);
  if (known != dnnl.weight_layouts.end()) return known->second;
  return dnnl.weight_layouts.emplace(key, make_layout(conv, dnnl)).first->second;
}

void CpuKernels::repack_product(const Conv2d& c, const float* w, Packed& packed) {
  if (auto* view = dynamic_cast<ProductWeight*>(&packed)) {
    view->values = w;
    return;
  }
  const dnnl::memory plain(matrix(c.channels, c.filters, true), dnnl_->engine(), const_cast<float*>(w));
  dnnl_->reorder(plain, static_cast<DnnlPacked&>(packed).memory());
}

void CpuKernels::matmul(const Matmul& shape, const float* a, const float* b, float* y) {
  DnnlCall& call = find_or_make(*dnnl_, {.matmul = shape});
  call.point(DNNL_ARG_SRC, a);
  call.point(DNNL_ARG_WEIGHTS, b);
  call.point(DNNL_ARG_DST, y);
  dnnl_->run(call);
}

void CpuKernels::product(const Conv2d& c, const Packed& w, const Epilogue& epilogue, const float* x, float* y) {
  if (c.fast && Products::finishes(epilogue)) {
    return Products{*dnnl_, isa_}.forward(c, plain(w), epilogue, x, y);
  }
  const Matmul shape{.m = rows_of(c), .n = c.filters, .k = c.channels, .transpose_b = true};
  const auto* blocked = dynamic_cast<const DnnlPacked*>(&w);
  if (epilogue.addend && epilogue.addend != y) copy(epilogue.addend, sizeof(float) * shape.m * shape.n, y);
  DnnlCall& call = find_or_make(*dnnl_, {.matmul = shape,
                                         .bias = epilogue.bias != nullptr,
                                         .sum = epilogue.addend != nullptr,
                                         .packed = blocked != nullptr,
                                         .activation = epilogue.activation});
  call.point(DNNL_ARG_SRC, x);
  blocked ? call.point(DNNL_ARG_WEIGHTS, blocked->memory()) : call.point(DNNL_ARG_WEIGHTS, plain(w));
  call.point(DNNL_ARG_DST, y);
  if (epilogue.bias) call.point(DNNL_ARG_BIAS, epilogue.bias);
  dnnl_->run(call);
}

void CpuKernels::product_input_gradient(const Conv2d& c, const Packed& w, const float* dy, float* dx) {
  matmul({.m = rows_of(c), .n = c.channels, .k = c.filters}, dy, plain(w), dx);
}

void CpuKernels::product_weight_gradient(const Conv2d& c, const float* x, const float* dy, float* dw) {
  if (c.fast) return Products{*dnnl_, isa_}.weight_gradient(c, x, dy, dw);
  const ConvKey key{.conv = c, .use = ConvUse::weight_gradient};
  auto found = dnnl_->convolutions.find(key);
  if (found == dnnl_->convolutions.end()) {
    found = dnnl_->convolutions.emplace(key, make_weight_gradient(c, *dnnl_)).first;
  }
  DnnlCall& call = found->second;
  call.point(DNNL_ARG_SRC, x);
  call.point(DNNL_ARG_DIFF_DST, dy);
  call.point(DNNL_ARG_DIFF_WEIGHTS, dw);
  dnnl_->run(call);
}

}  // namespace hp
