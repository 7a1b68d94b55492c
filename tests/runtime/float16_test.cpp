#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "runtime/elements.h"

using namespace hp;

TEST_CASE("every float16 survives the way to float32 and back") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = from_float16(half);
    if (std::isnan(value)) {
      CHECK_UNARY(std::isnan(from_float16(to_float16(value))));
    } else {
      CHECK_UNARY(to_float16(value) == half);
    }
  }
}

TEST_CASE("rounding to float16 goes to the nearest, ties to even") {
  for (uint16_t half = 0; half < 0x7BFF; ++half) {
    const float low = from_float16(half), high = from_float16(static_cast<uint16_t>(half + 1));
    const float middle = low + (high - low) / 2;
    const auto even = static_cast<uint16_t>(half + (half & 1));
    CHECK_UNARY(to_float16(middle) == even);
    CHECK_UNARY(to_float16(-middle) == (even | 0x8000));
    CHECK_UNARY(to_float16(std::nextafter(middle, 0.0F)) == half);
    CHECK_UNARY(to_float16(std::nextafter(middle, 1e9F)) == half + 1);
  }
  CHECK(to_float16(65519.996F) == 0x7BFF);
  CHECK(to_float16(65520.0F) == 0x7C00);
  CHECK(to_float16(std::numeric_limits<float>::infinity()) == 0x7C00);
  CHECK(to_float16(-1e-30F) == 0x8000);
}
