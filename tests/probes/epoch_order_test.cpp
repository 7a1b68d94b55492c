#include "probes/epoch_order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

using namespace hp;

namespace {

std::vector<int64_t> sorted(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

std::vector<int64_t> counted(int64_t n) {
  std::vector<int64_t> values(static_cast<size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

}  // namespace

TEST_CASE("a small set is permuted as a whole, each epoch in its own way") {
  const Shuffle shuffle{5, 1000, 100};
  const std::vector<int64_t> first = epoch_order(shuffle, 100, 10, 0);
  CHECK(sorted(first) == counted(100));
  CHECK(first == epoch_order(shuffle, 100, 10, 0));
  CHECK(first != epoch_order(shuffle, 100, 10, 1));
  CHECK(first != epoch_order({6, 1000, 100}, 100, 10, 0));
  CHECK(first != counted(100));
}

TEST_CASE("a large set is permuted in groups of blocks that fit into memory") {
  const Shuffle shuffle{5, 400, 100};  // 10 rows a block, 4 blocks at a time
  const int64_t rows = 1003;
  const std::vector<int64_t> order = epoch_order(shuffle, rows, 10, 3);
  CHECK(sorted(order) == counted(rows));
  CHECK(order == epoch_order(shuffle, rows, 10, 3));
  CHECK(order != epoch_order(shuffle, rows, 10, 4));
  std::set<int64_t> seen_blocks;
  int mixed_groups = 0;
  for (size_t begin = 0; begin + 40 <= 960; begin += 40) {
    // The block that is not full may shift the groups by its missing rows; count blocks over the span instead.
    std::set<int64_t> blocks;
    for (size_t i = begin; i < begin + 40; ++i) blocks.insert(order[i] / 10);
    CHECK(blocks.size() <= 8);
    mixed_groups += order[begin] / 10 != order[begin + 1] / 10;
    seen_blocks.insert(blocks.begin(), blocks.end());
  }
  CHECK(mixed_groups > 12);         // rows are mixed within a group, not only blocks
  CHECK(seen_blocks.size() >= 95);  // of 101
  CHECK(order[0] / 40 != 0);        // blocks are permuted: with this seed the first is another
}

TEST_CASE("rows larger than the memory still come once each") {
  CHECK(sorted(epoch_order({1, 10, 5}, 7, 1000, 0)) == counted(7));
  CHECK(epoch_order({1, 10, 5}, 1, 1000, 0) == counted(1));
}
