// How concentrated a map is, wherever: Shannon entropy and Gini index (protocol.md 6.3).
#pragma once

#include "attribution/metrics/metric.h"

namespace hp {

// In bits, not normalised: -sum q log2(q + 1e-10), q = p / (sum p + 1e-10), p = max(box5(m), 0). 0 for a map without
// positive values.
class Entropy final : public Metric {
 public:
  std::string name() const override { return "entropy"; }
  std::vector<double> values(Context, const Tensor& maps, std::span<const Subject> subjects) const override;
};

// Of a = max(m, 0) / max + 1e-7, unsmoothed. Dividing by the map's maximum makes it independent of the map's scale.
// 0 for a map without positive values.
class Gini final : public Metric {
 public:
  std::string name() const override { return "gini"; }
  std::vector<double> values(Context, const Tensor& maps, std::span<const Subject> subjects) const override;
};

}  // namespace hp
