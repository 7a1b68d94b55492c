#include "kernels/cpu/loops_maps.h"

#include "kernels/cpu/vector_math.h"

namespace hp {

namespace {

// `width` results in registers while the taps go by.
template <int width>
inline void filter_piece(int64_t taps, const float* weights, int64_t stride, const float* x, float* y) {
  float sums[width] = {};
  for (int64_t k = 0; k < taps; ++k) {
#pragma omp simd
    for (int i = 0; i < width; ++i) sums[i] += weights[k] * x[k * stride + i];
  }
#pragma omp simd
  for (int i = 0; i < width; ++i) y[i] = sums[i];
}

void filter(int64_t count, int64_t taps, const float* weights, int64_t stride, const float* x, float* y) {
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) filter_piece<64>(taps, weights, stride, x + i, y + i);
  for (; i + 16 <= count; i += 16) filter_piece<16>(taps, weights, stride, x + i, y + i);
  for (; i < count; ++i) filter_piece<1>(taps, weights, stride, x + i, y + i);
}

double positive_sum(int64_t count, const float* x) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < count; ++i) total += positive_part_of(x[i]);
  return total;
}

double masked_sum(int64_t count, const float* x, const float* mask) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < count; ++i) total += static_cast<double>(positive_part_of(x[i])) * mask[i];
  return total;
}

double plogp_sum(int64_t count, const float* x, float factor, float offset) {
  constexpr float log2_e = 1.44269504088896341f;
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < count; ++i) {
    const float q = positive_part_of(x[i]) * factor;
    total += static_cast<double>(q) * (log2_e * log_of(q + offset));
  }
  return total;
}

constexpr MapsLoops table{
    .filter = filter, .positive_sum = positive_sum, .masked_sum = masked_sum, .plogp_sum = plogp_sum};

}  // namespace

template <>
const MapsLoops& loops<MapsLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
