#include "kernels/cuda/rounding.h"

#include "kernels/cuda/map.cuh"

namespace hp {

namespace {

struct RoundToBfloat16 {
  __device__ void operator()(const float*, const float* in, float* out) const {
    const unsigned bits = __float_as_uint(in[0]), dropped = 16;
    // Half of the last kept bit, less one where that bit is 0: a tie goes to the even neighbour.
    const unsigned rounded = bits + 0x7fffU + (bits >> dropped & 1U);
    out[0] = in[0] != in[0] ? in[0] : __uint_as_float(rounded >> dropped << dropped);
  }
};

}  // namespace

void round_to_bfloat16(const CudaState& state, int64_t n, const float* x, float* y) {
  map(state, "rounding to bfloat16", MapArrays<0, 1, 1>{.count = n, .in = {{x}}, .out = {y}}, RoundToBfloat16());
}

}  // namespace hp
