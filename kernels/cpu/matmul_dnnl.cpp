#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/dnnl_state.h"

namespace hp {

namespace {

// [batch, rows, columns], stored as its transpose if asked.
dnnl::memory::desc matrices(int64_t batch, int64_t rows, int64_t columns, bool transposed) {
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{rows * columns, 1, rows} : dnnl::memory::dims{rows * columns, columns, 1};
  return {{batch, rows, columns}, dnnl::memory::data_type::f32, strides};
}

DnnlCall make_matmul(const Matmul& m, const DnnlState& dnnl) {
  require_room_for_code();
  const ThreadCount lent(dnnl.threads());
  const dnnl::engine& engine = dnnl.engine();
  const auto a = matrices(m.batch, m.m, m.k, m.transpose_a);
  const auto b = matrices(m.batch, m.k, m.n, m.transpose_b);
  const auto y = matrices(m.batch, m.m, m.n, false);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(a, b, y), attributes, engine);
  return {engine,
          dnnl::matmul(desc),
          desc.scratchpad_desc(),
          {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, y}}};
}

}  // namespace

void CpuKernels::matmul(const Matmul& shape, const float* a, const float* b, float* y) {
  const MatmulKey key{shape};
  auto found = dnnl_->matmuls.find(key);
  if (found == dnnl_->matmuls.end()) found = dnnl_->matmuls.emplace(key, make_matmul(shape, *dnnl_)).first;
  DnnlCall& call = found->second;
  call.point(DNNL_ARG_SRC, a);
  call.point(DNNL_ARG_WEIGHTS, b);
  call.point(DNNL_ARG_DST, y);
  dnnl_->run(call);
}

}  // namespace hp
