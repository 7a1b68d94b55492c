// Kernels of the relevance rules: ranges among threads, pieces to the loops.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_relevance.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/periods.h"

namespace hp {

namespace {

// The numerator from element i on; a null numerator (all ones) stays null.
const float* from(const float* numerator, int64_t i) { return numerator ? numerator + i : nullptr; }

}  // namespace

void CpuKernels::stabilised_ratio(int64_t n, int64_t period, float epsilon, const float* numerator,
                                  const float* denominator, float* ratio) {
  const RelevanceLoops& inner = loops_for<RelevanceLoops>(isa_);
  const int64_t repeats = repeats_for(period, n);
  const Repeated repeated(denominator, period, repeats);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, repeats * period, [&](int64_t i, int64_t phase, int64_t count) {
      inner.stabilised_ratio(count, epsilon, from(numerator, i), repeated.data() + phase, ratio + i);
    });
  });
}

void CpuKernels::scale_by_ratio(int64_t n, int64_t period, float epsilon, const float* m, const float* numerator,
                                const float* denominator, float* y) {
  const RelevanceLoops& inner = loops_for<RelevanceLoops>(isa_);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, period, [&](int64_t i, int64_t phase, int64_t count) {
      inner.scale_by_ratio(count, epsilon, m + i, from(numerator, phase), denominator + phase, y + i);
    });
  });
}

void CpuKernels::gamma_ratio(int64_t n, float epsilon, float gamma, const float* numerator, const float* z,
                             const float* p, float* ratio) {
  const RelevanceLoops& inner = loops_for<RelevanceLoops>(isa_);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    inner.gamma_ratio(end - begin, epsilon, gamma, from(numerator, begin), z + begin, p + begin, ratio + begin);
  });
}

void CpuKernels::gamma_messages(int64_t n, int64_t period, float gamma, const float* m, const float* z,
                                const float* ratio, float* y, float* y_positive) {
  const RelevanceLoops& inner = loops_for<RelevanceLoops>(isa_);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, period, [&](int64_t i, int64_t phase, int64_t count) {
      inner.gamma_messages(count, gamma, m + i, z + phase, ratio + phase, y + i, y_positive + i);
    });
  });
}

void CpuKernels::gamma_ratios_any(int64_t n, float epsilon, float gamma, const float* numerator, const float* z,
                                  const float* a, float* ratio, float* ratio_absolute) {
  const RelevanceLoops& inner = loops_for<RelevanceLoops>(isa_);
  parallel_for(threads_, n, element_grain, [&](int64_t begin, int64_t end) {
    inner.gamma_ratios_any(end - begin, epsilon, gamma, from(numerator, begin), z + begin, a + begin, ratio + begin,
                           ratio_absolute + begin);
  });
}

void CpuKernels::add_gated(Gate gate, int64_t n, int targets, const float* x, const float* m, float beta, float* y) {
  const RelevanceLoops& inner = loops_for<RelevanceLoops>(isa_);
  parallel_for(threads_, targets * n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, n, [&](int64_t i, int64_t phase, int64_t count) {
      inner.add_gated(gate, count, x + phase, m + i, beta, y + i);
    });
  });
}

void CpuKernels::box_relevance(Rows shape, int targets, const float* low, const float* high, const float* x,
                               const float* g, const float* g_positive, float* r) {
  const RelevanceLoops& inner = loops_for<RelevanceLoops>(isa_);
  const int64_t n = shape.count();
  const int64_t repeats = repeats_for(shape.columns, n);
  const Repeated lows(low, shape.columns, repeats), highs(high, shape.columns, repeats);
  parallel_for(threads_, targets * n, element_grain, [&](int64_t begin, int64_t end) {
    for_periods(begin, end, n, [&](int64_t message, int64_t position, int64_t length) {
      const int64_t target = message - position;
      for_periods(position, position + length, repeats * shape.columns, [&](int64_t i, int64_t channel, int64_t count) {
        inner.box_relevance(count, lows.data() + channel, highs.data() + channel, x + i, g + target + i,
                            g_positive + target + i, r + target + i);
      });
    });
  });
}

}  // namespace hp
