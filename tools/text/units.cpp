#include "tools/text/units.h"

#include <fmt/format.h>

namespace hp {

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e6) return fmt::format("{:.0f} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.1f} GB", bytes / 1e9);
}

std::string count_text(int64_t count) {
  const auto value = static_cast<double>(count);
  if (count < 10'000) return fmt::format("{}", count);
  if (count < 1'000'000) return fmt::format("{:.1f} k", value / 1e3);
  return fmt::format("{:.2f} M", value / 1e6);
}

std::string flops_text(double flops) {
  if (flops <= 0) return "-";
  if (flops < 1e6) return fmt::format("{:.1f} kFLOP", flops / 1e3);
  if (flops < 1e9) return fmt::format("{:.1f} MFLOP", flops / 1e6);
  return fmt::format("{:.2f} GFLOP", flops / 1e9);
}

std::string seconds_text(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.2f} s", seconds);
}

}  // namespace hp
