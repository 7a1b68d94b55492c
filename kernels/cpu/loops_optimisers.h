// OptimiserLoops: the inner loops of optimisers.cpp (isa.h says how they are chosen).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "runtime/kernels.h"

namespace hp {

struct OptimiserLoops {
  void (*sgd_step)(int64_t n, const SgdStep&, const float* gradient, float* velocity, float* w);
  void (*adam_step)(int64_t n, const AdamStep&, const float* gradient, float* m, float* v, float* w);
};

template <>
const OptimiserLoops& loops<OptimiserLoops, Isa::baseline>();
template <>
const OptimiserLoops& loops<OptimiserLoops, Isa::avx2>();
template <>
const OptimiserLoops& loops<OptimiserLoops, Isa::avx512>();

}  // namespace hp
