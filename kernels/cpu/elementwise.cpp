// Elementwise kernels: ranges among threads, pieces to the loops.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_elementwise.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/periods.h"

namespace hp {

void CpuKernels::apply(Function function, int64_t n, const float* x, float* y) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  parallel_for(threads_, n, element_grain,
               [&](int64_t begin, int64_t end) { inner.apply(function, end - begin, x + begin, y + begin); });
}

void CpuKernels::apply_vjp(Function function, int64_t n, int targets, const float* x, const float* y, const float* dy,
                           float* dx) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  parallel_for(threads_, targets * n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, n, [&](int64_t i, int64_t phase, int64_t count) {
      inner.apply_vjp(function, count, x + phase, y + phase, dy + i, dx + i);
    });
  });
}

void CpuKernels::apply_ratio(Function function, int64_t n, int targets, const float* x, const float* dy, float* dx) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  parallel_for(threads_, targets * n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, n, [&](int64_t i, int64_t phase, int64_t count) {
      inner.apply_ratio(function, count, x + phase, dy + i, dx + i);
    });
  });
}

void CpuKernels::guided_relu_vjp(int64_t n, int targets, const float* x, const float* dy, float* dx) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  parallel_for(threads_, targets * n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, n, [&](int64_t i, int64_t phase, int64_t count) {
      inner.guided_relu_vjp(count, x + phase, dy + i, dx + i);
    });
  });
}

void CpuKernels::combine(Binary binary, int64_t n, int64_t period, const float* a, const float* b, float* y) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  const int64_t repeats = repeats_for(period, n);
  const Repeated repeated(b, period, repeats);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, repeats * period, [&](int64_t i, int64_t phase, int64_t count) {
      inner.combine(binary, count, a + i, repeated.data() + phase, y + i);
    });
  });
}

void CpuKernels::scale_add(int64_t n, float alpha, const float* x, float beta, float* y) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  parallel_for(threads_, n, element_grain,
               [&](int64_t begin, int64_t end) { inner.scale_add(end - begin, alpha, x + begin, beta, y + begin); });
}

void CpuKernels::add_relu(int64_t n, const float* a, const float* b, float* y) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  parallel_for(threads_, n, element_grain,
               [&](int64_t begin, int64_t end) { inner.add_relu(end - begin, a + begin, b + begin, y + begin); });
}

void CpuKernels::blend_signs(int64_t n, float positive, float negative, const float* x, float* y) {
  const ElementwiseLoops& inner = loops_for<ElementwiseLoops>(isa_);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    inner.blend_signs(end - begin, positive, negative, x + begin, y + begin);
  });
}

}  // namespace hp
