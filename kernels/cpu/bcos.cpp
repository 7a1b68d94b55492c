// Kernels of B-cos networks. Group g of a row is a row of its own wherever groups lie one behind the other.
#include <cmath>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/loops_bcos.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/periods.h"

namespace hp {

namespace {

int64_t pixels_in(const Conv2d& shape) { return shape.batch * shape.height * shape.width; }

bool is_pointwise(const Conv2d& shape) {
  return shape.kernel_height == 1 && shape.kernel_width == 1 && shape.stride == 1 && shape.padding == 0;
}

// The outputs along one axis whose windows hold input `position`: f(output index).
template <class F>
void for_windows(int64_t position, int64_t taps, int64_t outputs, const Conv2d& shape, F&& f) {
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t shifted = position + shape.padding - tap * shape.dilation;
    if (shifted < 0 || shifted % shape.stride != 0 || shifted / shape.stride >= outputs) continue;
    f(shifted / shape.stride);
  }
}

// Norms of windows, of a strip of output lines of one image: squares are summed per pixel and group first, then down
// the windows' rows, then along them.
class WindowNorms {
 public:
  WindowNorms(const BcosLoops& inner, const Conv2d& shape, double inside, double outside)
      : inner_(inner), shape_(shape), inside_(inside), outside_(outside) {}

  // Doubles of scratch memory.
  int64_t scratch() const { return shape_.height * row() + padded() + shape_.out_width() * shape_.groups; }

  void run(const float* image, int64_t first, int64_t last, double* scratch, float* n) const {
    double *line = scratch + shape_.height * row(), *sums = line + padded();
    const int64_t margin = shape_.padding * shape_.groups, results = shape_.out_width() * shape_.groups;
    const int64_t top = std::max<int64_t>(0, first * shape_.stride - shape_.padding);
    const int64_t below =
        (last - 1) * shape_.stride - shape_.padding + (shape_.kernel_height - 1) * shape_.dilation + 1;
    const int64_t rows = std::max<int64_t>(0, std::min(below, shape_.height) - top);
    const int64_t columns = shape_.channels / shape_.groups;
    inner_.square_sums(rows * row(), columns, image + top * row() * columns, scratch + top * row());
    for (int64_t output = first; output < last; ++output, n += results) {
      std::fill_n(line, padded(), 0.0);
      for (int64_t tap = 0; tap < shape_.kernel_height; ++tap) {
        const int64_t y = output * shape_.stride + tap * shape_.dilation - shape_.padding;
        if (y >= 0 && y < shape_.height) inner_.add(1, row(), row(), scratch + y * row(), line + margin);
      }
      std::fill_n(sums, results, 0.0);
      for (int64_t tap = 0; tap < shape_.kernel_width; ++tap) {
        inner_.add(shape_.out_width(), shape_.groups, shape_.stride * shape_.groups,
                   line + tap * shape_.dilation * shape_.groups, sums);
      }
      inner_.norms(results, inside_, outside_, sums, n);
    }
  }

 private:
  int64_t row() const { return shape_.width * shape_.groups; }
  int64_t padded() const { return (shape_.width + 2 * shape_.padding) * shape_.groups; }

  const BcosLoops& inner_;
  const Conv2d& shape_;
  double inside_, outside_;
};

}  // namespace

void CpuKernels::unit_rows(Rows shape, const float* x, float* y) {
  const BcosLoops& inner = loops_for<BcosLoops>(isa_);
  parallel_for(threads_, shape.rows, row_grain(shape.columns), [&](int64_t begin, int64_t end) {
    inner.unit_rows(end - begin, shape.columns, x + begin * shape.columns, y + begin * shape.columns);
  });
}

void CpuKernels::unit_rows_vjp(Rows shape, int targets, const float* x, const float* dy, float* dx) {
  const BcosLoops& inner = loops_for<BcosLoops>(isa_);
  const int64_t columns = shape.columns;
  parallel_for(threads_, targets * shape.rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    for_periods(begin, end, shape.rows, [&](int64_t row, int64_t phase, int64_t count) {
      inner.unit_rows_vjp(count, columns, x + phase * columns, dy + row * columns, dx + row * columns);
    });
  });
}

void CpuKernels::patch_norms(const Conv2d& shape, float inside, float outside, const float* x, float* n) {
  const BcosLoops& inner = loops_for<BcosLoops>(isa_);
  const int64_t groups = shape.groups, columns = shape.channels / groups, rows = pixels_in(shape) * groups;
  const auto scratch = [&](int64_t doubles) {
    return static_cast<double*>(dnnl_->scratch(DnnlState::Scratch::squares, sizeof(double) * doubles));
  };
  if (is_pointwise(shape)) {
    double* squares = scratch(rows);
    return parallel_for(threads_, rows, row_grain(columns), [&](int64_t begin, int64_t end) {
      inner.square_sums(end - begin, columns, x + begin * columns, squares + begin);
      inner.norms(end - begin, inside, outside, squares + begin, n + begin);
    });
  }
  const WindowNorms norms(inner, shape, inside, outside);
  const int64_t height = shape.out_height(), lines = shape.batch * height, image = rows / shape.batch * columns;
  const int64_t grain = row_grain(shape.stride * shape.width * shape.channels);
  double* own = scratch(chunk_count(threads_, lines, grain) * norms.scratch());
  parallel_chunks(threads_, lines, grain, [&](int chunk, int64_t begin, int64_t end) {
    for_periods(begin, end, height, [&](int64_t line, int64_t first, int64_t count) {
      norms.run(x + line / height * image, first, first + count, own + chunk * norms.scratch(),
                n + line * shape.out_width() * groups);
    });
  });
}

void CpuKernels::patch_norms_vjp(const Conv2d& shape, int targets, float outside, const float* x, const float* n,
                                 const float* dn, float* dx) {
  const BcosLoops& inner = loops_for<BcosLoops>(isa_);
  const int64_t groups = shape.groups, columns = shape.channels / groups;
  const int64_t height = shape.out_height(), width = shape.out_width(), outputs = shape.batch * height * width * groups;
  const int64_t lines = shape.batch * shape.height, line_rows = shape.width * groups;
  const auto share = [=](int64_t output) {  // of a message by the root itself, which is 0 where all inputs are
    const float root = n[output % outputs] - outside;
    return root > 0 ? static_cast<double>(dn[output]) / root : 0.0;
  };
  parallel_for(threads_, targets * lines, row_grain(line_rows * columns), [&](int64_t begin, int64_t end) {
    std::vector<float> factor(static_cast<size_t>(line_rows));
    std::vector<double> sums(static_cast<size_t>(groups));
    for (int64_t line = begin; line < end; ++line) {
      const int64_t image = line / shape.height * height * width * groups;  // of the messages, targets outermost
      for (int64_t column = 0; column < shape.width; ++column) {
        std::fill(sums.begin(), sums.end(), 0.0);
        for_windows(line % shape.height, shape.kernel_height, height, shape, [&](int64_t i) {
          for_windows(column, shape.kernel_width, width, shape, [&](int64_t j) {
            for (int64_t g = 0; g < groups; ++g) sums[g] += share(image + (i * width + j) * groups + g);
          });
        });
        for (int64_t g = 0; g < groups; ++g) factor[column * groups + g] = static_cast<float>(sums[g]);
      }
      inner.scale_rows(line_rows, columns, factor.data(), x + line % lines * line_rows * columns,
                       dx + line * line_rows * columns);
    }
  });
}

void CpuKernels::bcos_scale(Rows shape, int targets, float exponent, const float* u, const float* n, const float* v,
                            const float* addend, float* y) {
  const BcosLoops& inner = loops_for<BcosLoops>(isa_);
  const int64_t columns = shape.columns;
  parallel_for(threads_, targets * shape.rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    for_periods(begin, end, shape.rows, [&](int64_t row, int64_t phase, int64_t count) {
      const float* added = addend ? addend + row * columns : nullptr;
      inner.bcos_scale(count, columns, exponent, u + phase * columns, n + phase, v + row * columns, added,
                       y + row * columns);
    });
  });
}

void CpuKernels::bcos_scale_vjp(Rows shape, int targets, float exponent, const float* u, const float* n,
                                const float* dy, float* du) {
  const BcosLoops& inner = loops_for<BcosLoops>(isa_);
  const int64_t columns = shape.columns;
  parallel_for(threads_, targets * shape.rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    for_periods(begin, end, shape.rows, [&](int64_t row, int64_t phase, int64_t count) {
      inner.bcos_scale_vjp(count, columns, exponent, u + phase * columns, n + phase, dy + row * columns,
                           du + row * columns);
    });
  });
}

void CpuKernels::bcos_norm_vjp(Rows shape, int targets, float exponent, const float* u, const float* n, const float* dy,
                               float* dn) {
  const BcosLoops& inner = loops_for<BcosLoops>(isa_);
  const int64_t columns = shape.columns;
  parallel_for(threads_, targets * shape.rows, row_grain(columns), [&](int64_t begin, int64_t end) {
    for_periods(begin, end, shape.rows, [&](int64_t row, int64_t phase, int64_t count) {
      inner.bcos_norm_vjp(count, columns, exponent, u + phase * columns, n + phase, dy + row * columns, dn + row);
    });
  });
}

}  // namespace hp
