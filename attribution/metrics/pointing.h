// How much of a map's positive energy lies where it should: in the target's cell of a grid, or in its boxes and masks.
#pragma once

#include "attribution/metrics/metric.h"

namespace hp {

// Grid pointing game (Zhang et al. 2018; Bohle, Fritz, Schiele 2021; protocol.md 6.3). With p = max(S(m), 0) of a map
// on a grid of cells x cells images: sum of p over the target's cell / (sum of p + 1e-12). A map without positive
// values scores 0.
class GridPointing final : public Metric {
 public:
  GridPointing(int64_t cells, Smoothing smoothing) : cells_(cells), smoothing_(smoothing) {}
  std::string name() const override { return "grid_pointing"; }
  std::vector<double> values(Context, const Tensor& maps, std::span<const Subject> subjects) const override;

 private:
  int64_t cells_;
  Smoothing smoothing_;
};

// Energy pointing game (Wang et al. 2020; protocol.md 6.4): sum of p over the region / (sum of p + 1e-12), in full
// precision. A region in which no pixel is left after rounding scores 0.
class EnergyPointing final : public Metric {
 public:
  // Which parts of a subject's region count.
  enum class Part { all, boxes, mask };
  explicit EnergyPointing(Smoothing smoothing, Part part = Part::all) : smoothing_(smoothing), part_(part) {}
  std::string name() const override { return "energy_pointing"; }
  std::vector<double> values(Context, const Tensor& maps, std::span<const Subject> subjects) const override;

 private:
  Smoothing smoothing_;
  Part part_;
};

// Adds a region's pixels to mask [height, width] as 1. Boxes are scaled to the map and rounded down on all four sides,
// so that the maxima are exclusive; what reaches outside is cut. Throws hp::Error if the region says nothing at all or
// its mask has another size.
void rasterise(const Region& region, int64_t height, int64_t width, std::span<float> mask);

}  // namespace hp
