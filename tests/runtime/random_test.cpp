#include "runtime/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

using namespace hp;

// Known answers of the authors' library, Random123 (kat_vectors: philox4x32, 10 rounds).
TEST_CASE("philox gives the published numbers") {
  using Block = std::array<uint32_t, 4>;
  constexpr uint32_t ones = 0xffffffff;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("seeds, streams, numbers and indices give unrelated bits") {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    for (const char* stream : {"a", "b", "head.weight"}) {
      for (uint64_t index = 0; index < 50; ++index) {
        seen.insert(Random(seed, stream).bits(index));
        for (uint64_t number = 0; number < 3; ++number) seen.insert(Random(seed, stream, number).bits(index));
      }
    }
  }
  CHECK(seen.size() == 4 * 3 * 50 * 4);
  CHECK(Random(1, "a", 2).bits(3) == Random(1, "a", 2).bits(3));
}

TEST_CASE("uniform and normal numbers have their moments") {
  const Random random(42, "moments");
  constexpr uint64_t count = 100000;
  double sum = 0, squares = 0, normal_sum = 0, normal_squares = 0, fourth = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const double u = random.uniform(i), n = random.normal(i);
    REQUIRE((u >= 0 && u < 1));
    sum += u, squares += u * u;
    normal_sum += n, normal_squares += n * n, fourth += n * n * n * n;
  }
  // Five standard errors.
  CHECK(std::abs(sum / count - 0.5) < 5 * std::sqrt(1.0 / 12 / count));
  CHECK(std::abs(squares / count - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / count));
  CHECK(std::abs(normal_sum / count) < 5 * std::sqrt(1.0 / count));
  CHECK(std::abs(normal_squares / count - 1) < 5 * std::sqrt(2.0 / count));
  CHECK(std::abs(fourth / count - 3) < 5 * std::sqrt(96.0 / count));
  for (uint64_t i = 0; i < 1000; ++i) CHECK_UNARY(std::abs(random.uniform(i, -0.25F, 0.25F)) <= 0.25F);
}

TEST_CASE("below is uniform and stays below") {
  const Random random(7, "below");
  std::array<int, 6> hits{};
  for (uint64_t i = 0; i < 60000; ++i) ++hits[static_cast<size_t>(random.below(i, 6))];
  for (const int hit : hits) CHECK(std::abs(hit - 10000) < 5 * 92);  // standard deviation 91.3
  CHECK(random.below(3, 1) == 0);
  CHECK(random.below(3, INT64_MAX) < INT64_MAX);
}

TEST_CASE("permutations hold everything once and every order alike") {
  const std::vector<int64_t> order = permutation(Random(3, "p"), 1000);
  std::vector<int64_t> sorted = order, all(1000);
  std::sort(sorted.begin(), sorted.end());
  std::iota(all.begin(), all.end(), 0);
  CHECK(sorted == all);
  CHECK(order != all);
  std::map<std::vector<int64_t>, int> hits;
  for (uint64_t seed = 0; seed < 6000; ++seed) ++hits[permutation(Random(seed, "p"), 3)];
  CHECK(hits.size() == 6);
  for (const auto& [three, hit] : hits) CHECK(std::abs(hit - 1000) < 5 * 29);  // standard deviation 28.9
  CHECK(permutation(Random(3, "p"), 0).empty());
}
