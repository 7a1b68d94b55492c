#include "tests/bench/loops_peak.h"

namespace hp {

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

// Enough independent sums to hide the latency of an operation; with two constants they fit into 16 registers.
constexpr int sums = 12;

using Vector [[gnu::vector_size(lanes * sizeof(float))]] = float;

float multiply_add(int64_t steps, float factor, float shift) {
  Vector sum[sums];
  for (int i = 0; i < sums; ++i) sum[i] = Vector{} + static_cast<float>(i);
  const Vector factors = Vector{} + factor, shifts = Vector{} + shift;
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < sums; ++i) sum[i] = sum[i] * factors + shifts;
  }
  float total = 0;
  for (const Vector& vector : sum) {
    for (int lane = 0; lane < lanes; ++lane) total += vector[lane];
  }
  return total;
}

constexpr PeakLoops table{.multiply_add = multiply_add, .flops_per_step = int64_t{2} * sums * lanes};

}  // namespace

template <>
const PeakLoops& loops<PeakLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
