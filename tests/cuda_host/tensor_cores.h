// What tensor cores do to the inputs of a product, for the stand-ins of the libraries.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace cuda_host {

// How many bits of mantissa are kept, of the 23 that a float has behind its first.
enum class Mantissa { fp32 = 23, tf32 = 10, bf16 = 7 };

// To the nearest, ties to even. For finite values.
inline float round_mantissa(float value, Mantissa kept) {
  const auto dropped = 23U - static_cast<unsigned>(kept);
  if (dropped == 0) return value;
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  bits += (1U << (dropped - 1)) - 1 + (bits >> dropped & 1U);
  bits = bits >> dropped << dropped;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Values as a product reads them, when the work runs: themselves, or rounded copies.
class ProductInput {
 public:
  ProductInput(const float* values, size_t count, Mantissa kept) : values_(values) {
    if (kept == Mantissa::fp32) return;
    rounded_.assign(values, values + count);
    for (float& value : rounded_) value = round_mantissa(value, kept);
    values_ = rounded_.data();
  }
  ProductInput(const ProductInput&) = delete;
  ProductInput& operator=(const ProductInput&) = delete;
  const float* data() const { return values_; }

 private:
  const float* values_;
  std::vector<float> rounded_;
};

}  // namespace cuda_host
