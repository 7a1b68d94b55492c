// Counts what the whole process asks the heap for, libraries included. For a test binary of its own.
#pragma once

#include <cstdint>

namespace hp::test {

struct Allocations {
  int64_t arrays = 0;  // calls of aligned_alloc: every array of Kernels::allocate and Tensor::host, however small
  int64_t large = 0;   // other blocks of at least 32 KiB: more than the bookkeeping of some hundred nodes
};

// False in builds under the address sanitizer, which has its own heap: then the counts stay 0.
bool counts_allocations();
Allocations allocations_so_far();

}  // namespace hp::test
