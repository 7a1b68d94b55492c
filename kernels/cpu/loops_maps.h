// MapsLoops: the inner loops of maps.cpp (isa.h says how they are chosen). Sums over pixels are in double precision.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

struct MapsLoops {
  // y[i] = sum over taps k of weights[k] * x[i + k * stride], i < count; in the order of k
  void (*filter)(int64_t count, int64_t taps, const float* weights, int64_t stride, const float* x, float* y);
  // sum max(x, 0)
  double (*positive_sum)(int64_t count, const float* x);
  // sum max(x, 0) * mask
  double (*masked_sum)(int64_t count, const float* x, const float* mask);
  // sum q log2(q + offset), q = max(x, 0) * factor
  double (*plogp_sum)(int64_t count, const float* x, float factor, float offset);
};

template <>
const MapsLoops& loops<MapsLoops, Isa::baseline>();
template <>
const MapsLoops& loops<MapsLoops, Isa::avx2>();
template <>
const MapsLoops& loops<MapsLoops, Isa::avx512>();

}  // namespace hp
