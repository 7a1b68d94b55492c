// CpuKernels: the kernels on the host, on OpenMP threads, with oneDNN for convolutions and matrix products.
#pragma once

#include <memory>
#include <string>

#include "kernels/cpu/isa.h"
#include "runtime/kernels.h"

namespace hp {

struct CpuOptions {
  int threads = 0;  // 0: as many as OpenMP gives
};

// oneDNN's engine, stream, scratch memory and the primitives made so far (dnnl_state.h).
class DnnlState;

// One object serves one thread at a time. Bits are the same for the same shapes, threads and instruction set.
class CpuKernels final : public Kernels {
 public:
  explicit CpuKernels(CpuOptions options = {});
  ~CpuKernels() override;

  int threads() const { return threads_; }
  Isa isa() const { return isa_; }

  // --- memory
  Device device() const override;
  Storage allocate(size_t bytes) override;
  void upload(const void* host, size_t bytes, void* device) override;
  void download(const void* device, size_t bytes, void* host) override;
  void copy(const void* from, size_t bytes, void* to) override;
  void fill(int64_t n, float value, float* y) override;
  void synchronize() override;

  // --- elementwise
  void apply(Function, int64_t n, const float* x, float* y) override;
  void apply_vjp(Function, int64_t n, int targets, const float* x, const float* y, const float* dy, float* dx) override;
  void apply_ratio(Function, int64_t n, int targets, const float* x, const float* dy, float* dx) override;
  void guided_relu_vjp(int64_t n, int targets, const float* x, const float* dy, float* dx) override;
  void combine(Binary, int64_t n, int64_t period, const float* a, const float* b, float* y) override;
  void scale_add(int64_t n, float alpha, const float* x, float beta, float* y) override;
  void add_relu(int64_t n, const float* a, const float* b, float* y) override;
  void blend_signs(int64_t n, float positive, float negative, const float* x, float* y) override;

  // --- relevance
  void stabilised_ratio(int64_t n, int64_t period, float epsilon, const float* numerator, const float* denominator,
                        float* ratio) override;
  void scale_by_ratio(int64_t n, int64_t period, float epsilon, const float* m, const float* numerator,
                      const float* denominator, float* y) override;
  void gamma_ratio(int64_t n, float epsilon, float gamma, const float* numerator, const float* z, const float* p,
                   float* ratio) override;
  void gamma_messages(int64_t n, int64_t period, float gamma, const float* m, const float* z, const float* ratio,
                      float* y, float* y_positive) override;
  void gamma_ratios_any(int64_t n, float epsilon, float gamma, const float* numerator, const float* z, const float* a,
                        float* ratio, float* ratio_absolute) override;
  void add_gated(Gate, int64_t n, int targets, const float* x, const float* m, float beta, float* y) override;
  void box_relevance(Rows, int targets, const float* low, const float* high, const float* x, const float* g,
                     const float* g_positive, float* r) override;

  // --- rows
  void softmax(Rows, const float* x, float* y) override;
  void softmax_vjp(Rows, int targets, const float* y, const float* dy, float* dx) override;
  void log_softmax(Rows, const float* x, float* y) override;
  void log_softmax_vjp(Rows, int targets, const float* y, const float* dy, float* dx) override;
  void column_sums(Rows, const float* x, float* y) override;
  void column_statistics(Rows, const float* x, float* statistics) override;
  void column_statistics_vjp(Rows, const float* x, const float* statistics, const float* dstatistics,
                             float* dx) override;
  void batch_norm(Rows, float epsilon, const float* x, const float* mean, const float* variance, const float* weight,
                  const float* bias, float* y) override;
  void batch_norm_vjp(Rows, int targets, float epsilon, const float* variance, const float* weight, const float* dy,
                      float* dx) override;
  void batch_norm_parameter_vjp(Rows, float epsilon, const float* x, const float* mean, const float* variance,
                                const float* weight, const float* dy, float* d) override;
  void batch_norm_train(Rows, float epsilon, bool relu, const float* x, const float* weight, const float* bias,
                        float* statistics, float* y) override;
  void batch_norm_train_vjp(Rows, float epsilon, bool relu, const float* x, const float* statistics,
                            const float* weight, const float* bias, const float* dy, float* dparameters,
                            float* dx) override;
  void group_norm(const GroupNorm&, const float* x, const float* weight, const float* bias, float* statistics,
                  float* y) override;
  void group_norm_vjp(const GroupNorm&, int targets, bool detached, const float* x, const float* statistics,
                      const float* weight, const float* dy, float* dx) override;
  void group_norm_parameter_vjp(const GroupNorm&, const float* x, const float* statistics, const float* dy,
                                float* d) override;
  void row_dots(Rows, int targets, const float* a, const float* m, float* y) override;
  void pixel_dots(Rows, int64_t batch, int targets, const float* a, const float* shift, const float* w,
                  float* y) override;
  void label_ranks(Rows, const float* x, const int32_t* label, int32_t* rank) override;

  // --- B-cos networks
  void unit_rows(Rows, const float* x, float* y) override;
  void unit_rows_vjp(Rows, int targets, const float* x, const float* dy, float* dx) override;
  void patch_norms(const Conv2d&, float inside, float outside, const float* x, float* n) override;
  void patch_norms_vjp(const Conv2d&, int targets, float outside, const float* x, const float* n, const float* dn,
                       float* dx) override;
  void bcos_scale(Rows, int targets, float exponent, const float* u, const float* n, const float* v,
                  const float* addend, float* y) override;
  void bcos_scale_vjp(Rows, int targets, float exponent, const float* u, const float* n, const float* dy,
                      float* du) override;
  void bcos_norm_vjp(Rows, int targets, float exponent, const float* u, const float* n, const float* dy,
                     float* dn) override;

  // --- losses
  void cross_entropy(Rows, const float* z, const float* t, float scale, float* loss, float* dz) override;
  void binary_cross_entropy(Rows, const float* z, const float* t, float scale, float* loss, float* dz) override;

  // --- matmul and convolution
  void matmul(const Matmul&, const float* a, const float* b, float* y) override;
  void heads_matmul(const HeadsMatmul&, const float* a, const float* b, float* y) override;
  std::string pack_format(const Conv2d&, PackUse) override;
  std::unique_ptr<Packed> pack(const Conv2d&, PackUse, const float* w) override;
  void repack(const Conv2d&, PackUse, const float* w, Packed& packed) override;
  void conv2d(const Conv2d&, const Packed& w, const Epilogue&, const float* x, float* y) override;
  void conv2d_input_gradient(const Conv2d&, const Packed& w, const float* dy, float* dx) override;
  void conv2d_weight_gradient(const Conv2d&, const float* x, const float* dy, float* dw) override;

  // --- pooling, resizing, moving
  void max_pool(const Pool2d&, const float* x, float* y, int32_t* argmax) override;
  void max_pool_vjp(const Pool2d&, int targets, const int32_t* argmax, const float* dy, float* dx) override;
  void avg_pool(const Pool2d&, const float* x, float* y) override;
  void avg_pool_vjp(const Pool2d&, const float* dy, float* dx) override;
  void resize_bilinear(const Resize2d&, const float* x, float* y) override;
  void resize_bilinear_vjp(const Resize2d&, const float* dy, float* dx) override;
  void copy_block(const Block&, const float* src, float* dst) override;

  // --- metrics on heat maps
  void box_smooth(Maps, int64_t size, const float* x, float* y) override;
  void gauss_smooth(Maps, int64_t size, float sigma, const float* x, float* y) override;
  void cell_sums(Maps, int64_t cells, const float* x, float* y) override;
  void mask_sums(Maps, const float* x, const float* mask, float* y) override;
  void entropy(Maps, const float* x, float* y) override;
  void gini(Maps, float offset, const float* x, float* y) override;

  // --- optimisers
  void sgd_step(int64_t n, const SgdStep&, const float* gradient, float* velocity, float* w) override;
  void adam_step(int64_t n, const AdamStep&, const float* gradient, float* m, float* v, float* w) override;

 private:
  // matmul_dnnl.h
  void repack_product(const Conv2d&, const float* w, Packed&);
  void product(const Conv2d&, const Packed& w, const Epilogue&, const float* x, float* y);
  void product_input_gradient(const Conv2d&, const Packed& w, const float* dy, float* dx);
  void product_weight_gradient(const Conv2d&, const float* x, const float* dy, float* dw);

  // columns_dnnl.h
  std::unique_ptr<Packed> allocate_columns(const Conv2d&);
  void pack_columns(const Conv2d&, const float* w, Packed& packed);
  void columns_input_gradient(const Conv2d&, const Packed& w, const float* dy, float* dx);

  int threads_;
  Isa isa_;
  std::unique_ptr<DnnlState> dnnl_;
};

}  // namespace hp
