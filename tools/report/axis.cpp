#include "tools/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace hp {
namespace {

double round_step(double range, int intervals) {
  const double rough = range / intervals;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

}  // namespace

Axis Axis::around(std::span<const double> values, bool with_zero, int intervals) {
  double low = with_zero ? 0 : INFINITY, high = with_zero ? 0 : -INFINITY;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high || (low == 0 && high == 0)) return {};
  const double size = std::max(std::abs(low), std::abs(high));
  if (size > 1e300 || size < 1e-300) return {};  // no steps to be made there
  if (high - low < 1e-9 * size) low -= 0.1 * size, high += 0.1 * size;
  Axis axis;
  axis.step = round_step(high - low, intervals);
  axis.low = std::floor(low / axis.step + 1e-6) * axis.step;
  axis.high = std::ceil(high / axis.step - 1e-6) * axis.step;
  return axis;
}

std::vector<double> Axis::ticks() const {
  std::vector<double> ticks;
  const auto first = std::llround(low / step), last = std::llround(high / step);
  for (auto i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::string Axis::label(double tick) const {
  const int exponent = static_cast<int>(std::floor(std::log10(step) + 1e-9));
  if (exponent >= 5 || exponent < -4) return fmt::format("{:.1e}", tick);
  return fmt::format("{:.{}f}", tick, std::max(0, -exponent));
}

}  // namespace hp
