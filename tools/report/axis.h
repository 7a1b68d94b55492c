// Axis: round tick marks for a range of values.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace hp {

// From `low` to `high`, both multiples of `step`, which is 1, 2 or 5 times a power of ten.
struct Axis {
  double low = 0, high = 1, step = 0.2;

  // Covers the finite values among `values`; from 0 if asked. Without any, or if all are equal to 0: [0, 1].
  static Axis around(std::span<const double> values, bool with_zero, int intervals = 5);

  std::vector<double> ticks() const;
  std::string label(double tick) const;  // with as many decimals as the step needs
  // Where a value lies: `low` at `from`, `high` at `to`.
  double place(double value, double from, double to) const { return from + (value - low) / (high - low) * (to - from); }
};

}  // namespace hp
