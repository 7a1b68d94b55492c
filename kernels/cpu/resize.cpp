#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_resize.h"
#include "kernels/cpu/parallel.h"

namespace hp {

namespace {

ResizeImage image_of(const Resize2d& r) { return {r.height, r.width, r.channels, r.out_height, r.out_width}; }

int64_t rows_per_thread(int64_t floats_per_row) { return std::max<int64_t>(1, floats_per_thread / floats_per_row); }

}  // namespace

void CpuKernels::resize_bilinear(const Resize2d& r, const float* x, float* y) {
  const auto row = loops_for<ResizeLoops>(isa_).row;
  const int64_t in_size = r.height * r.width * r.channels, out_size = r.out_height * r.out_width * r.channels;
  const int64_t grain = rows_per_thread(r.out_width * r.channels);
  parallel_for(threads_, r.batch * r.out_height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / r.out_height;
      row(image_of(r), i % r.out_height, x + image * in_size, y + image * out_size);
    }
  });
}

void CpuKernels::resize_bilinear_vjp(const Resize2d& r, const float* dy, float* dx) {
  const auto row_vjp = loops_for<ResizeLoops>(isa_).row_vjp;
  const int64_t in_size = r.height * r.width * r.channels, out_size = r.out_height * r.out_width * r.channels;
  const int64_t grain = rows_per_thread((r.width + 2 * r.out_width * r.out_height / r.height) * r.channels);
  parallel_for(threads_, r.batch * r.height, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / r.height;
      row_vjp(image_of(r), i % r.height, dy + image * out_size, dx + image * in_size);
    }
  });
}

}  // namespace hp
