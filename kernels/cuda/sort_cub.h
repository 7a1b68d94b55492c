// The calls into CUB, whose headers take nvcc long to read: in one file.
#pragma once

#include "kernels/cuda/cuda_state.h"

namespace hp {

// sorted = keys in ascending order; only the lowest `bits` bits count.
void sort_keys(CudaState& state, int64_t count, int bits, const uint64_t* keys, uint64_t* sorted);

}  // namespace hp
