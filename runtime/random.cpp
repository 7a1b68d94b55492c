#include "runtime/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

namespace hp {
namespace {

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// FNV-1a, 64 bits: names to streams, the same on every machine.
uint64_t hash(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return value;
}

// A fraction in [0, 1) from the upper 53 bits.
double fraction(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr int rounds = 10;
  for (int round = 0; round < rounds; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

Random::Random(uint64_t seed, std::string_view stream) : key_{low(seed), high(seed)}, stream_(hash(stream)) {}

// The number is mixed as Philox mixes, so that neighbours share nothing.
Random::Random(uint64_t seed, std::string_view stream, uint64_t number) : Random(seed, stream) {
  const std::array<uint32_t, 4> mixed = philox({low(number), high(number), low(stream_), high(stream_)}, {0, 0});
  stream_ = uint64_t{mixed[0]} << 32 | mixed[1];
}

uint64_t Random::bits(uint64_t index) const {
  const std::array<uint32_t, 4> block = philox({low(index), high(index), low(stream_), high(stream_)}, key_);
  return uint64_t{block[0]} << 32 | block[1];
}

double Random::uniform(uint64_t index) const { return fraction(bits(index)); }

float Random::uniform(uint64_t index, float low, float high) const {
  return static_cast<float>(low + (static_cast<double>(high) - low) * uniform(index));
}

int64_t Random::below(uint64_t index, int64_t n) const {
  return static_cast<int64_t>(static_cast<unsigned __int128>(bits(index)) * static_cast<uint64_t>(n) >> 64);
}

double Random::normal(uint64_t index) const {
  const std::array<uint32_t, 4> block = philox({low(index), high(index), low(stream_), high(stream_)}, key_);
  const double radius = 1 - fraction(uint64_t{block[0]} << 32 | block[1]);  // in (0, 1]: its logarithm is finite
  const double angle = fraction(uint64_t{block[2]} << 32 | block[3]);
  return std::sqrt(-2 * std::log(radius)) * std::cos(2 * std::numbers::pi * angle);
}

void shuffle(const Random& random, uint64_t first, std::span<int64_t> values) {
  for (size_t left = values.size(); left > 1; --left) {
    const int64_t other = random.below(first + values.size() - left, static_cast<int64_t>(left));
    std::swap(values[left - 1], values[static_cast<size_t>(other)]);
  }
}

std::vector<int64_t> permutation(const Random& random, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  shuffle(random, 0, order);
  return order;
}

}  // namespace hp
