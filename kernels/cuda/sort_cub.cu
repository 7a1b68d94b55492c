#include "kernels/cuda/sort_cub.h"

#include <cub/device/device_radix_sort.cuh>

#include "kernels/cuda/check.h"

namespace hp {

void sort_keys(CudaState& state, int64_t count, int bits, const uint64_t* keys, uint64_t* sorted) {
  size_t bytes = 0;
  check(cub::DeviceRadixSort::SortKeys(nullptr, bytes, keys, sorted, count, 0, bits, state.stream()), "sort_keys");
  void* scratch = state.scratch(CudaState::Scratch::library, bytes);
  check(cub::DeviceRadixSort::SortKeys(scratch, bytes, keys, sorted, count, 0, bits, state.stream()), "sort_keys");
}

}  // namespace hp
