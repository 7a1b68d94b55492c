// Random: numbers by counter. Number `index` of a stream is a pure function of (seed, stream, index), so that results
// depend neither on the order in which numbers are drawn nor on threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hp {

// Philox-4x32-10: 128 random bits from a 128-bit counter and a 64-bit key (Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", 2011).
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

class Random {
 public:
  // `stream` keeps uses of one seed apart: name it by what the numbers are for, such as "head.weight" or "epoch order".
  Random(uint64_t seed, std::string_view stream);
  // A stream of a family, one for each number: the epochs of a training.
  Random(uint64_t seed, std::string_view stream, uint64_t number);

  uint64_t bits(uint64_t index) const;                         // all 64 bits uniform
  double uniform(uint64_t index) const;                        // in [0, 1), a multiple of 2^-53
  float uniform(uint64_t index, float low, float high) const;  // in [low, high]
  // In [0, n), n > 0. The bias of a value is below n / 2^64.
  int64_t below(uint64_t index, int64_t n) const;
  double normal(uint64_t index) const;  // mean 0, standard deviation 1 (Box and Muller 1958)

 private:
  std::array<uint32_t, 2> key_;
  uint64_t stream_;
};

// Puts values in random order (Fisher and Yates); draws the numbers first .. first + values.size() - 2.
void shuffle(const Random& random, uint64_t first, std::span<int64_t> values);

// 0..n-1 in random order, by the stream's numbers from 0 on.
std::vector<int64_t> permutation(const Random& random, int64_t n);

}  // namespace hp
