// Stand-in for CUB's device-wide radix sort, for tests.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda_runtime.h"
#include "tests/cuda_host/device.h"

namespace cub {

struct DeviceRadixSort {
  // Called first without storage, to ask for its size. Only the bits [begin_bit, end_bit) count.
  static cudaError_t SortKeys(void* storage, size_t& bytes, const uint64_t* keys, uint64_t* sorted, int64_t count,
                              int begin_bit, int end_bit, cudaStream_t stream) {
    constexpr size_t wanted = 64;
    if (!storage) {
      bytes = wanted;
      return cudaSuccess;
    }
    if (bytes < wanted) return cudaErrorInvalidValue;
    const uint64_t below = end_bit >= 64 ? ~uint64_t{0} : (uint64_t{1} << end_bit) - 1;
    cuda_host::enqueue(stream, [=] {
      std::copy(keys, keys + count, sorted);
      std::stable_sort(sorted, sorted + count,
                       [=](uint64_t a, uint64_t b) { return (a & below) >> begin_bit < (b & below) >> begin_bit; });
    });
    return cudaSuccess;
  }
};

}  // namespace cub
