#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_pool.h"
#include "kernels/cpu/parallel.h"

namespace hp {

namespace {

// Wide maps of few rows (a global average has one per image) are split by channels as well.
constexpr int64_t channels_per_block = 256;

// Calls f(image, row, geometry with its channel block) for every row of `images` images and every block of channels.
template <class F>
void for_rows(int threads, const Pool2d& pool, int64_t images, int64_t rows, int64_t floats_per_row, F&& f) {
  const int64_t blocks = (pool.channels + channels_per_block - 1) / channels_per_block;
  const int64_t grain = std::max<int64_t>(1, floats_per_thread * blocks / std::max<int64_t>(1, floats_per_row));
  parallel_for(threads, images * rows * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * channels_per_block;
      const PoolImage image{.height = pool.height,
                            .width = pool.width,
                            .channels = pool.channels,
                            .out_height = pool.out_height(),
                            .out_width = pool.out_width(),
                            .window_height = pool.window_height,
                            .window_width = pool.window_width,
                            .stride = pool.stride,
                            .padding = pool.padding,
                            .channel_begin = first,
                            .channel_end = std::min(first + channels_per_block, pool.channels)};
      f(i / blocks / rows, i / blocks % rows, image);
    }
  });
}

int64_t in_size(const Pool2d& pool) { return pool.height * pool.width * pool.channels; }
int64_t out_size(const Pool2d& pool) { return pool.out_height() * pool.out_width() * pool.channels; }

// Floats that one output row reads, or that are read to make one input row.
int64_t forward_work(const Pool2d& pool) {
  return pool.out_width() * pool.channels * pool.window_height * pool.window_width;
}
int64_t vjp_work(const Pool2d& pool) { return std::max(forward_work(pool) / pool.stride, pool.width * pool.channels); }

// As of a probe on features that are pooled already.
bool is_identity(const Pool2d& pool) {
  return pool.window_height == 1 && pool.window_width == 1 && pool.stride == 1 && pool.padding == 0;
}

}  // namespace

void CpuKernels::max_pool(const Pool2d& pool, const float* x, float* y, int32_t* argmax) {
  const auto row = loops_for<PoolLoops>(isa_).max_row;
  for_rows(threads_, pool, pool.batch, pool.out_height(), forward_work(pool),
           [&](int64_t image, int64_t out_y, const PoolImage& part) {
             const int64_t out = image * out_size(pool);
             row(part, out_y, x + image * in_size(pool), y + out, argmax + out);
           });
}

void CpuKernels::max_pool_vjp(const Pool2d& pool, int targets, const int32_t* argmax, const float* dy, float* dx) {
  const auto row = loops_for<PoolLoops>(isa_).max_row_vjp;
  for_rows(threads_, pool, targets * pool.batch, pool.height, vjp_work(pool),
           [&](int64_t image, int64_t in_y, const PoolImage& part) {
             row(part, in_y, argmax + image % pool.batch * out_size(pool), dy + image * out_size(pool),
                 dx + image * in_size(pool));
           });
}

void CpuKernels::avg_pool(const Pool2d& pool, const float* x, float* y) {
  if (is_identity(pool)) return copy(x, sizeof(float) * pool.batch * in_size(pool), y);
  const auto row = loops_for<PoolLoops>(isa_).average_row;
  for_rows(threads_, pool, pool.batch, pool.out_height(), forward_work(pool),
           [&](int64_t image, int64_t out_y, const PoolImage& part) {
             row(part, out_y, x + image * in_size(pool), y + image * out_size(pool));
           });
}

void CpuKernels::avg_pool_vjp(const Pool2d& pool, const float* dy, float* dx) {
  if (is_identity(pool)) return copy(dy, sizeof(float) * pool.batch * in_size(pool), dx);
  const auto row = loops_for<PoolLoops>(isa_).average_row_vjp;
  for_rows(threads_, pool, pool.batch, pool.height, vjp_work(pool),
           [&](int64_t image, int64_t in_y, const PoolImage& part) {
             row(part, in_y, dy + image * out_size(pool), dx + image * in_size(pool));
           });
}

}  // namespace hp
