// The order in which an epoch visits the rows of a feature cache.
#pragma once

#include <cstdint>
#include <vector>

namespace hp {

// A set that fits into `memory_bytes` is permuted as a whole. A larger one is cut into blocks of consecutive rows; the
// blocks are permuted, as many as fit into memory are taken at a time, and the rows of those are permuted: the disk
// then sees long reads, and each group of blocks is read once. The numbers are part of a recipe, not of a machine: the
// order depends on them.
struct Shuffle {
  uint64_t seed = 0;
  int64_t memory_bytes = int64_t{1} << 30;
  int64_t block_bytes = int64_t{1} << 20;
};

// Every row once. Deterministic in (shuffle, rows, row_bytes, epoch).
std::vector<int64_t> epoch_order(const Shuffle& shuffle, int64_t rows, int64_t row_bytes, int64_t epoch);

}  // namespace hp
