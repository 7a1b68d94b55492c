// What the fuzz targets share: bytes as a file, and what counts as an orderly answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "runtime/error.h"

namespace hp::fuzz {

// A file in memory that holds the bytes of the latest call; the same path each time.
std::filesystem::path as_file(std::span<const uint8_t> bytes);

inline std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Runs `action`; hp::Error is how bad input is refused. Any other exception ends the fuzzer with a finding.
template <class Action>
void refuse_or(Action&& action) {
  try {
    action();
  } catch (const Error&) {
    return;
  }
}

}  // namespace hp::fuzz
