#include "probes/epoch_order.h"

#include <algorithm>

#include "runtime/random.h"

namespace hp {

std::vector<int64_t> epoch_order(const Shuffle& shuffle, int64_t rows, int64_t row_bytes, int64_t epoch) {
  const auto number = static_cast<uint64_t>(epoch);
  const int64_t in_memory = shuffle.memory_bytes / std::max<int64_t>(1, row_bytes);
  if (rows <= in_memory) return permutation(Random(shuffle.seed, "epoch order", number), rows);
  const int64_t block = std::clamp<int64_t>(shuffle.block_bytes / std::max<int64_t>(1, row_bytes), 1, rows);
  const int64_t blocks = (rows + block - 1) / block;
  const int64_t group = std::max<int64_t>(1, in_memory / block);
  const std::vector<int64_t> block_order = permutation(Random(shuffle.seed, "block order", number), blocks);
  const Random within(shuffle.seed, "order within blocks", number);
  std::vector<int64_t> order;
  order.reserve(static_cast<size_t>(rows));
  for (int64_t first = 0; first < blocks; first += group) {
    std::vector<int64_t> held;
    for (int64_t i = first; i < std::min(first + group, blocks); ++i) {
      const int64_t begin = block_order[static_cast<size_t>(i)] * block;
      for (int64_t row = begin; row < std::min(begin + block, rows); ++row) held.push_back(row);
    }
    hp::shuffle(within, order.size(), held);  // the stream goes on where the last group stopped
    order.insert(order.end(), held.begin(), held.end());
  }
  return order;
}

}  // namespace hp
