#include "attribution/metrics/pointing.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace hp {

namespace {

constexpr double epsilon = 1e-12;

Region part_of(Region region, EnergyPointing::Part part) {
  if (part == EnergyPointing::Part::boxes) region.mask.clear();
  if (part == EnergyPointing::Part::mask) region.boxes.clear();
  return region;
}

}  // namespace

std::vector<double> GridPointing::values(Context context, const Tensor& maps, std::span<const Subject> subjects) const {
  const Maps extents{maps.shape()[0], maps.shape()[1], maps.shape()[2]};
  require(extents.height % cells_ == 0 && extents.width % cells_ == 0,
          "[grid_pointing] maps cannot be cut into {0} x {0} cells; got {1} x {2}; expected multiples of {0}", cells_,
          extents.height, extents.width);
  const Tensor smooth = smoothed(context, maps, smoothing_);
  const Tensor sums = context.scratch.take(Shape{extents.count, cells_ * cells_});
  context.kernels.cell_sums(extents, cells_, smooth.floats(), sums.floats());
  std::vector<float> energy(static_cast<size_t>(sums.count()));
  context.kernels.download(sums.floats(), sums.bytes(), energy.data());
  std::vector<double> values;
  for (size_t i = 0; i < subjects.size(); ++i) {
    require(subjects[i].cell >= 0 && subjects[i].cell < cells_ * cells_,
            "[grid_pointing] no such cell; got {}; expected 0 to {}", subjects[i].cell, cells_ * cells_ - 1);
    const std::span<const float> cells =
        std::span(energy).subspan(i * static_cast<size_t>(cells_ * cells_), static_cast<size_t>(cells_ * cells_));
    double total = 0;
    for (float cell : cells) total += cell;
    values.push_back(cells[static_cast<size_t>(subjects[i].cell)] / (total + epsilon));
  }
  return values;
}

void rasterise(const Region& region, int64_t height, int64_t width, std::span<float> mask) {
  require(!region.boxes.empty() || !region.mask.empty(),
          "[energy_pointing] a map without a region; expected at least one box or a mask");
  require(region.mask.empty() || region.mask.size() == mask.size(),
          "[energy_pointing] mask does not fit the map; got {} pixels; expected {} x {}", region.mask.size(), height,
          width);
  for (size_t i = 0; i < region.mask.size(); ++i) {
    if (region.mask[i]) mask[i] = 1;
  }
  const double frame_width = region.frame_width > 0 ? region.frame_width : static_cast<double>(width);
  const double frame_height = region.frame_height > 0 ? region.frame_height : static_cast<double>(height);
  // The small term undoes the rounding of boxes that were scaled in float before.
  const auto scaled = [](double x, int64_t extent, double frame) {
    const double pixel = std::floor(x * static_cast<double>(extent) / frame + 1e-4);
    return static_cast<int64_t>(std::clamp(pixel, 0.0, static_cast<double>(extent)));
  };
  for (const Rectangle& box : region.boxes) {
    require(std::isfinite(box.x0 + box.x1 + box.y0 + box.y1),
            "[energy_pointing] a box with coordinates that are not finite; got {}, {}, {}, {}; expected numbers",
            box.x0, box.y0, box.x1, box.y1);
    const int64_t left = scaled(box.x0, width, frame_width), right = scaled(box.x1, width, frame_width);
    const int64_t top = scaled(box.y0, height, frame_height), bottom = scaled(box.y1, height, frame_height);
    for (int64_t y = top; y < bottom; ++y) {
      if (left < right) std::fill(mask.begin() + y * width + left, mask.begin() + y * width + right, 1.0f);
    }
  }
}

std::vector<double> EnergyPointing::values(Context context, const Tensor& maps,
                                           std::span<const Subject> subjects) const {
  const Maps extents{maps.shape()[0], maps.shape()[1], maps.shape()[2]};
  std::vector<float> host(static_cast<size_t>(maps.count()), 0.0f);
  for (size_t i = 0; i < subjects.size(); ++i) {
    const auto pixels = static_cast<size_t>(extents.pixels());
    rasterise(part_of(subjects[i].region, part_), extents.height, extents.width,
              std::span(host).subspan(i * pixels, pixels));
  }
  const Tensor masks = context.scratch.take(maps.shape());
  context.kernels.upload(host.data(), masks.bytes(), masks.floats());
  const Tensor smooth = smoothed(context, maps, smoothing_);
  const Tensor sums = context.scratch.take(Shape{extents.count, 2});
  context.kernels.mask_sums(extents, smooth.floats(), masks.floats(), sums.floats());
  std::vector<float> energy(static_cast<size_t>(sums.count()));
  context.kernels.download(sums.floats(), sums.bytes(), energy.data());
  std::vector<double> values;
  values.reserve(subjects.size());
  for (size_t i = 0; i < subjects.size(); ++i) values.push_back(energy[2 * i] / (energy[2 * i + 1] + epsilon));
  return values;
}

}  // namespace hp
