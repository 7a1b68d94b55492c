// PeakLoops: a loop that does nothing but multiply and add in registers, once per instruction set: what the processor
// could do at most (kernels/cpu/isa.h says how the sets are chosen).
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

struct PeakLoops {
  // Runs `steps` rounds of independent v = v * factor + shift; returns their sum, so that no one leaves them out.
  float (*multiply_add)(int64_t steps, float factor, float shift);
  int64_t flops_per_step;
};

template <>
const PeakLoops& loops<PeakLoops, Isa::baseline>();
template <>
const PeakLoops& loops<PeakLoops, Isa::avx2>();
template <>
const PeakLoops& loops<PeakLoops, Isa::avx512>();

}  // namespace hp
