// Kernels: every computation a device must offer, one pure virtual per kernel. This page is the whole device interface.
//
// Conventions. Outputs come last. A vector-Jacobian product (`_vjp`) stands beside its forward kernel. Arrays are
// contiguous float32 on the device unless typed otherwise. Feature maps are [batch, height, width, channels]; "rows x
// columns" is everything but the last axis times the last axis. `targets`: several messages may share one forward pass;
// a message for a value of n floats then has targets*n floats with the target axis outermost, so the value that belongs
// to message element i is i mod n (row mod rows). Unless it says "add", a kernel overwrites its output. In-place use
// (output == an input of the same size) is allowed in the elementwise group only. Kernels check nothing: ops have
// checked shapes before. Everything is deterministic: same inputs, threads and device give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtime/storage.h"

namespace hp {

struct Rows {
  int64_t rows = 0, columns = 0;
  int64_t count() const { return rows * columns; }
};

// y[batch, out_height, out_width, filters] = x[batch, height, width, channels] * w[filters, channels/groups,
// kernel_height, kernel_width]; zero padding of `padding` on all four sides. `fast`, for training: a device may compute
// gradients with fewer products (Winograd: Lavin and Gray 2016), which are about 0, not exactly, where all terms are 0;
// relevance rules would mind. Of a linear layer no filter's result then depends on the others by a single bit.
// `smooth`: no ReLU or maximum follows, where a rounding that takes a value over 0 would change every gradient below
// it; then the same may be done forward and towards the input, also outside of training.
struct Conv2d {
  int64_t batch = 1, height = 1, width = 1, channels = 1;
  int64_t filters = 1, kernel_height = 1, kernel_width = 1;
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  bool fast = false, smooth = false;
  int64_t out_height() const { return (height + 2 * padding - dilation * (kernel_height - 1) - 1) / stride + 1; }
  int64_t out_width() const { return (width + 2 * padding - dilation * (kernel_width - 1) - 1) / stride + 1; }
  int64_t weight_count() const { return filters * (channels / groups) * kernel_height * kernel_width; }
  bool operator==(const Conv2d&) const = default;
};

// Square windows over [batch, height, width, channels]. Padding counts as -infinity (max) or as zeros that are counted
// (average).
struct Pool2d {
  int64_t batch = 1, height = 1, width = 1, channels = 1;
  int64_t window_height = 1, window_width = 1, stride = 1, padding = 0;
  int64_t out_height() const { return (height + 2 * padding - window_height) / stride + 1; }
  int64_t out_width() const { return (width + 2 * padding - window_width) / stride + 1; }
};

// [batch, height, width, channels] -> [batch, out_height, out_width, channels], half-pixel centres, no antialiasing.
struct Resize2d {
  int64_t batch = 1, height = 1, width = 1, channels = 1, out_height = 1, out_width = 1;
};

// y[b] (m x n) = op(a[b]) (m x k) * op(b[b]) (k x n); a transposed operand is stored as its transpose.
struct Matmul {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  bool transpose_a = false, transpose_b = false;
};

// The products of attention, one per image and head: y (m x n) = scale * op(a) (m x k) * op(b) (k x n). One of the
// three is a map of token pairs, [images, heads, rows, columns]; the other two are tokens, [images, rows, heads *
// columns], whose heads are read and written where they lie. Rows and columns are those of the stored matrix. Image i
// of y, i < batch, reads images i mod a_images and i mod b_images: one value for several targets.
struct HeadsMatmul {
  enum class Map { a, b, y };
  int64_t batch = 1, a_images = 1, b_images = 1, heads = 1;
  int64_t m = 1, n = 1, k = 1;
  bool transpose_a = false, transpose_b = false;
  Map map = Map::y;
  float scale = 1;
  bool softmax = false;  // then the softmax of every row of y, which must be the map
  bool operator==(const HeadsMatmul&) const = default;
};

// Statistics over all positions and the channels/groups channels of a group, per image: x [batch, positions, channels].
// Layer norm is positions = groups = 1 with a token as an image; uncentred: the mean stays in x (protocol.md 1.2).
struct GroupNorm {
  int64_t batch = 1, positions = 1, channels = 1, groups = 1;
  float epsilon = 1e-5f;
  bool centred = true;
  int64_t count() const { return batch * positions * channels; }
  int64_t group_size() const { return positions * channels / groups; }
};

// A strided copy of a block of up to four axes: dst[dst_offset + sum i*dst_stride] = src[src_offset + sum
// i*src_stride].
struct Block {
  int64_t extent[4] = {1, 1, 1, 1};
  int64_t src_offset = 0, src_stride[4] = {0, 0, 0, 0};
  int64_t dst_offset = 0, dst_stride[4] = {0, 0, 0, 0};
};

// Heat maps [count, height, width].
struct Maps {
  int64_t count = 0, height = 0, width = 0;
  int64_t pixels() const { return height * width; }
};

struct SgdStep {
  float learning_rate = 0, momentum = 0, weight_decay = 0;
  bool nesterov = false;
};

// The step number t >= 1 is in the corrections 1 - beta1^t and 1 - beta2^t.
struct AdamStep {
  float learning_rate = 0, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, weight_decay = 0;
  float correction1 = 1, correction2 = 1;
  bool decoupled = false;  // weight decay as AdamW has it
};

enum class Function {
  relu,
  sigmoid,
  tanh,
  exponential,
  logarithm,
  square,
  absolute,
  positive_part,
  negative_part,
  sign,
  gelu,        // x Phi(x), Phi the normal distribution: Hendrycks and Gimpel 2016
  gelu_tanh,   // x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)), their approximation
  quick_gelu,  // x sigmoid(1.702 x), CLIP's
  silu         // x sigmoid(x)
};
enum class Binary { add, subtract, multiply, divide };
// The parts of an input that relevance rules treat apart: the factor is 1, [x > 0], [x < 0], or the sign of x (0 at 0).
enum class Gate { all, positive, negative, sign };

// What a convolution does to its result before storing it, in this order: + bias[filter], + addend[i], the activation.
struct Epilogue {
  const float* bias = nullptr;
  const float* addend = nullptr;  // may be the output itself
  std::optional<Function> activation = {};
};

class Observer;

enum class PackUse { forward, input_gradient };

// A convolution weight in whatever layout the device likes best; made once per weight and layout.
class Packed {
 public:
  virtual ~Packed() = default;
  // Whether it points to the weight instead of holding a copy: the values must then stay where they are.
  virtual bool is_view() const { return false; }
};

class Kernels {
 public:
  virtual ~Kernels() = default;

  // Who is told what runs on this device (runtime/observer.h); nobody at first. It must outlive its use.
  void observe(Observer* observer) { observer_ = observer; }
  Observer* observer() const { return observer_; }

  // --- memory
  // -------------------------------------------------------------------------------------------------------------------------
  virtual Device device() const = 0;
  virtual Storage allocate(size_t bytes) = 0;
  virtual void upload(const void* host, size_t bytes, void* device) = 0;
  virtual void download(const void* device, size_t bytes, void* host) = 0;  // returns when the bytes are there
  virtual void copy(const void* from, size_t bytes, void* to) = 0;          // device to device
  virtual void fill(int64_t n, float value, float* y) = 0;
  virtual void synchronize() = 0;

  // --- elementwise
  // --------------------------------------------------------------------------------------------------------------------
  virtual void apply(Function, int64_t n, const float* x, float* y) = 0;
  // dx[i] = dy[i] * f'(x[i mod n]), i < targets*n; the derivative of relu and absolute at 0 is 0. y = f(x) may stand in
  // for x in relu.
  virtual void apply_vjp(Function, int64_t n, int targets, const float* x, const float* y, const float* dy,
                         float* dx) = 0;
  // dx[i] = dy[i] * f(x[i mod n]) / x[i mod n], f'(0) at 0: the rule that gives f(x)'s relevance to x whole. For
  // functions with f(0) = 0 and a slope there (0 for relu and absolute); NaN for sigmoid, exponential, logarithm and
  // sign.
  virtual void apply_ratio(Function, int64_t n, int targets, const float* x, const float* dy, float* dx) = 0;
  // Guided backpropagation (Springenberg et al. 2015): dx[i] = max(dy[i], 0) * [x[i mod n] > 0]
  virtual void guided_relu_vjp(int64_t n, int targets, const float* x, const float* dy, float* dx) = 0;
  // y[i] = a[i] (op) b[i mod period], i < n
  virtual void combine(Binary, int64_t n, int64_t period, const float* a, const float* b, float* y) = 0;
  // y = alpha x + beta y; beta = 0 overwrites, whatever y held
  virtual void scale_add(int64_t n, float alpha, const float* x, float beta, float* y) = 0;
  virtual void add_relu(int64_t n, const float* a, const float* b, float* y) = 0;
  // y = positive * max(x, 0) + negative * min(x, 0): w+, w-, |w|, w + gamma w+ ...
  virtual void blend_signs(int64_t n, float positive, float negative, const float* x, float* y) = 0;

  // --- relevance (attribution.md B): stab(d) = d + epsilon * sgn(d), sgn(0) = +1
  // ------------------------------------------------------------
  // ratio[i] = numerator[i] / stab(denominator[i mod period]), 0 where that stab is 0 (epsilon = 0 at a 0); a null
  // numerator means 1
  virtual void stabilised_ratio(int64_t n, int64_t period, float epsilon, const float* numerator,
                                const float* denominator, float* ratio) = 0;
  // y[i] = m[i] * (numerator[j] / stab(denominator[j])), j = i mod period, with the same 0 and null numerator: the
  // ratio without memory for it.
  virtual void scale_by_ratio(int64_t n, int64_t period, float epsilon, const float* m, const float* numerator,
                              const float* denominator, float* y) = 0;
  // Gamma rule for x >= 0: with z the output and p = conv(x, w+) + b+: d = z > 0 ? z + gamma p : (1 + gamma) z - gamma
  // p, ratio = numerator / stab(d) (0 where z = 0). Null numerator: 1.
  virtual void gamma_ratio(int64_t n, float epsilon, float gamma, const float* numerator, const float* z,
                           const float* p, float* ratio) = 0;
  // What the rule's two adjoints get, with w and with w+, j = i mod period: y[i] = m[i] ratio[j] * (z[j] > 0 ? 1 : 1 +
  // gamma), y_positive[i] = m[i] ratio[j] * (z[j] > 0 ? gamma : -gamma).
  virtual void gamma_messages(int64_t n, int64_t period, float gamma, const float* m, const float* z,
                              const float* ratio, float* y, float* y_positive) = 0;
  // Gamma rule for any sign: with a = conv(|x|, |w|) + |b|: d = (1 + gamma/2) z + sgn(z) gamma/2 a, r = numerator /
  // stab(d) (0 where z = 0); ratio = (1 + gamma/2) r, ratio_absolute = gamma/2 r sgn(z). Null numerator: 1.
  virtual void gamma_ratios_any(int64_t n, float epsilon, float gamma, const float* numerator, const float* z,
                                const float* a, float* ratio, float* ratio_absolute) = 0;
  // y[i] = beta y[i] + gate(x[i mod n]) * m[i], i < targets*n
  virtual void add_gated(Gate, int64_t n, int targets, const float* x, const float* m, float beta, float* y) = 0;
  // The zB rule's last step, per channel c: r = (x - high[c]) g + (high[c] - low[c]) g_positive; rows of x are shared
  // by the targets
  virtual void box_relevance(Rows, int targets, const float* low, const float* high, const float* x, const float* g,
                             const float* g_positive, float* r) = 0;

  // --- rows
  // ---------------------------------------------------------------------------------------------------------------------------
  virtual void softmax(Rows, const float* x, float* y) = 0;
  // dx = y (dy - sum y dy)
  virtual void softmax_vjp(Rows, int targets, const float* y, const float* dy, float* dx) = 0;
  virtual void log_softmax(Rows, const float* x, float* y) = 0;
  // dx = dy - exp(y) sum dy
  virtual void log_softmax_vjp(Rows, int targets, const float* y, const float* dy, float* dx) = 0;
  // y[c] = sum over rows of x[row, c]
  virtual void column_sums(Rows, const float* x, float* y) = 0;
  // statistics[0, c] = mean, statistics[1, c] = biased variance over the rows
  virtual void column_statistics(Rows, const float* x, float* statistics) = 0;
  // dx[row, c] = (dstatistics[0, c] + 2 (x[row, c] - mean[c]) dstatistics[1, c]) / rows
  virtual void column_statistics_vjp(Rows, const float* x, const float* statistics, const float* dstatistics,
                                     float* dx) = 0;
  // y = (x - mean[c]) / sqrt(variance[c] + epsilon) * weight[c] + bias[c]; here and in the vjps a null weight means 1,
  // a null bias 0
  virtual void batch_norm(Rows, float epsilon, const float* x, const float* mean, const float* variance,
                          const float* weight, const float* bias, float* y) = 0;
  // dx = dy * weight[c] / sqrt(variance[c] + epsilon)
  virtual void batch_norm_vjp(Rows, int targets, float epsilon, const float* variance, const float* weight,
                              const float* dy, float* dx) = 0;
  // Gradients of the four per-channel inputs, [4, columns] in the order mean, variance, weight, bias
  virtual void batch_norm_parameter_vjp(Rows, float epsilon, const float* x, const float* mean, const float* variance,
                                        const float* weight, const float* dy, float* d) = 0;
  // Batch norm of a training step: statistics as column_statistics(x), y = batch_norm with them, then max(0, .) if relu
  virtual void batch_norm_train(Rows, float epsilon, bool relu, const float* x, const float* weight, const float* bias,
                                float* statistics, float* y) = 0;
  // With h = (x - mean) / sqrt(variance + epsilon) (the statistics depend on x): dparameters[1, c] = sum dy,
  // dparameters[0, c] = sum dy h; dx = weight / sqrt(variance + epsilon) (dy - (dparameters[1] + h dparameters[0]) /
  // rows). A null dx is not computed. `relu`: a ReLU followed, dy is 0 where weight h + bias, its input, is not
  // positive; else the bias is not read.
  virtual void batch_norm_train_vjp(Rows, float epsilon, bool relu, const float* x, const float* statistics,
                                    const float* weight, const float* bias, const float* dy, float* dparameters,
                                    float* dx) = 0;
  // y = (x - mean) / sqrt(variance + epsilon) * weight[c] + bias[c], uncentred x / sqrt(variance + epsilon) * weight[c]
  // + bias[c], with the biased variance about the mean; statistics [2, batch * groups]: mean, 1 / sqrt(variance +
  // epsilon). A null weight means 1, a null bias 0.
  virtual void group_norm(const GroupNorm&, const float* x, const float* weight, const float* bias, float* statistics,
                          float* y) = 0;
  // With r = 1 / sqrt(variance + epsilon), h = (x - mean) r and g = dy weight: dx = r (g - mean(g) - h mean(g h)),
  // uncentred r (g - h mean(g x r)). `detached`: r is a constant, and the last term is missing.
  virtual void group_norm_vjp(const GroupNorm&, int targets, bool detached, const float* x, const float* statistics,
                              const float* weight, const float* dy, float* dx) = 0;
  // Gradients of weight and bias, [2, channels]
  virtual void group_norm_parameter_vjp(const GroupNorm&, const float* x, const float* statistics, const float* dy,
                                        float* d) = 0;
  // y[row] = sum over columns of a[row mod rows] * m[row], row < targets*rows; a null a means 1. Sums in double.
  virtual void row_dots(Rows, int targets, const float* a, const float* m, float* y) = 0;
  // y[t, b, p] = sum over channels of w[t, b, c] * (a[b, p, c] - shift[c]); null shift: 0. rows = batch * pixels,
  // columns = channels
  virtual void pixel_dots(Rows, int64_t batch, int targets, const float* a, const float* shift, const float* w,
                          float* y) = 0;
  // rank[row] = number of columns whose value is above that of column label[row] (ties count when their column is
  // lower); 0 is top-1
  virtual void label_ranks(Rows, const float* x, const int32_t* label, int32_t* rank) = 0;

  // --- B-cos networks (protocol.md 1.2)
  // ------------------------------------------------------------------------------------------------------
  // y = s u with u the product with unit weights (or those that a norm is folded into: runtime/fold.h), n the norm of
  // the patch, and s = |u| / n for exponent 1, (|u| / n + 1e-6)^exponent otherwise (exponent = B - 1); rows = positions
  // * groups, columns = filters of a group
  // y[row] = x[row] / |x[row]|_2; a row of zeros gives NaN
  virtual void unit_rows(Rows, const float* x, float* y) = 0;
  // dx = (dy - y (y . dy)) / |x|
  virtual void unit_rows_vjp(Rows, int targets, const float* x, const float* dy, float* dx) = 0;
  // n[batch, out_height, out_width, groups] = sqrt(sum of x^2 over the window and the group's channels + inside) +
  // outside; padding counts as 0. `filters` is not read.
  virtual void patch_norms(const Conv2d&, float inside, float outside, const float* x, float* n) = 0;
  // dx = x * sum over the windows that hold it of dn / (n - outside), 0 where that root is 0
  virtual void patch_norms_vjp(const Conv2d&, int targets, float outside, const float* x, const float* n,
                               const float* dn, float* dx) = 0;
  // y = s v + addend, where v, addend and y have `targets` times the rows: v = u is the forward pass, v = dy the
  // adjoint with the scale taken as a constant; a null addend means 0; y may be v or the addend
  virtual void bcos_scale(Rows, int targets, float exponent, const float* u, const float* n, const float* v,
                          const float* addend, float* y) = 0;
  // du = dy d(s u)/du, and dn[row] = sum over columns of dy u ds/dn
  virtual void bcos_scale_vjp(Rows, int targets, float exponent, const float* u, const float* n, const float* dy,
                              float* du) = 0;
  virtual void bcos_norm_vjp(Rows, int targets, float exponent, const float* u, const float* n, const float* dy,
                             float* dn) = 0;

  // --- losses, with dense targets t[rows, columns]
  // -------------------------------------------------------------------------------------- loss[row] = sum t (log sum
  // exp z - z); dz (may be null) = scale * (sum t * softmax(z) - t)
  virtual void cross_entropy(Rows, const float* z, const float* t, float scale, float* loss, float* dz) = 0;
  // loss[row] = sum over columns of softplus(z) - t z; dz (may be null) = scale * (sigmoid(z) - t)
  virtual void binary_cross_entropy(Rows, const float* z, const float* t, float scale, float* loss, float* dz) = 0;

  // --- matmul and convolution
  // -----------------------------------------------------------------------------------------------------------
  virtual void matmul(const Matmul&, const float* a, const float* b, float* y) = 0;
  virtual void heads_matmul(const HeadsMatmul&, const float* a, const float* b, float* y) = 0;
  // Names the layout that this shape wants for its weight; equal names share one pack (which may be a view of the
  // weight).
  virtual std::string pack_format(const Conv2d&, PackUse) = 0;
  virtual std::unique_ptr<Packed> pack(const Conv2d&, PackUse,
                                       const float* w) = 0;  // w [filters, channels/groups, kh, kw]
  // Other values for what pack() made for the same shape and use, in the same place.
  virtual void repack(const Conv2d&, PackUse, const float* w, Packed& packed) = 0;
  virtual void conv2d(const Conv2d&, const Packed& w, const Epilogue&, const float* x, float* y) = 0;
  // dx = adjoint of conv2d (without epilogue) applied to dy; any number of targets goes into `batch`
  virtual void conv2d_input_gradient(const Conv2d&, const Packed& w, const float* dy, float* dx) = 0;
  virtual void conv2d_weight_gradient(const Conv2d&, const float* x, const float* dy, float* dw) = 0;

  // --- pooling, resizing, moving
  // ---------------------------------------------------------------------------------------------------------- argmax:
  // position within the window, row-major; the first maximum wins; NaN wins over everything
  virtual void max_pool(const Pool2d&, const float* x, float* y, int32_t* argmax) = 0;
  virtual void max_pool_vjp(const Pool2d&, int targets, const int32_t* argmax, const float* dy, float* dx) = 0;
  virtual void avg_pool(const Pool2d&, const float* x, float* y) = 0;
  virtual void avg_pool_vjp(const Pool2d&, const float* dy, float* dx) = 0;  // any number of targets goes into `batch`
  virtual void resize_bilinear(const Resize2d&, const float* x, float* y) = 0;
  virtual void resize_bilinear_vjp(const Resize2d&, const float* dy, float* dx) = 0;
  virtual void copy_block(const Block&, const float* src, float* dst) = 0;

  // --- metrics on heat maps (protocol.md 6.3, 6.4)
  // ------------------------------------------------------------------------------------------ y = mean over a size x
  // size window, zero padding counted
  virtual void box_smooth(Maps, int64_t size, const float* x, float* y) = 0;
  // y = separable Gaussian of `size` taps, normalised, reflect padding (needs height, width > size/2)
  virtual void gauss_smooth(Maps, int64_t size, float sigma, const float* x, float* y) = 0;
  // y[map, cell] = sum of max(x, 0) over the cells of a cells x cells grid, row-major; cells divides height and width
  virtual void cell_sums(Maps, int64_t cells, const float* x, float* y) = 0;
  // y[map, 0] = sum of max(x, 0) * mask, y[map, 1] = sum of max(x, 0); one mask [height, width] per map
  virtual void mask_sums(Maps, const float* x, const float* mask, float* y) = 0;
  // y[map] = -sum q log2(q + 1e-10), q = p / (sum p + 1e-10), p = max(x, 0)
  virtual void entropy(Maps, const float* x, float* y) = 0;
  // y[map] = Gini index of a = max(x, 0) / max + offset (a zero map gives 0), sorted ascending: sum (2i - n - 1) a_i /
  // (n sum a)
  virtual void gini(Maps, float offset, const float* x, float* y) = 0;

  // --- optimisers
  // -----------------------------------------------------------------------------------------------------------------------
  // g += weight_decay w; v = momentum v + g; w -= learning_rate (nesterov ? g + momentum v : v)
  virtual void sgd_step(int64_t n, const SgdStep&, const float* gradient, float* velocity, float* w) = 0;
  // Kingma and Ba 2015; decoupled decay: Loshchilov and Hutter 2019. g += weight_decay w, or w *= 1 - learning_rate
  // weight_decay where it is decoupled; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g g;
  // w -= learning_rate (m / correction1) / (sqrt(v / correction2) + epsilon)
  virtual void adam_step(int64_t n, const AdamStep&, const float* gradient, float* m, float* v, float* w) = 0;

 private:
  Observer* observer_ = nullptr;
};

}  // namespace hp
