// Rounding of values to bfloat16, which keeps 8 of float32's 24 bits of mantissa.
#pragma once

#include <cstdint>

namespace hp {

class CudaState;

// y = x rounded to the nearest bfloat16, ties to even, still as float32; n values. y may be x.
void round_to_bfloat16(const CudaState& state, int64_t n, const float* x, float* y);

}  // namespace hp
