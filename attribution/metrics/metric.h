// Metric: scores heat maps, one record per map. Means, intervals and differences are apart, in statistics.h.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "runtime/arena_pool.h"

namespace hp {

// [x0, x1) x [y0, y1) in the pixels of a frame.
struct Rectangle {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

// Where a map should point: the union of boxes, in pixels of a frame_width x frame_height picture (0: the map's own
// size), and a mask [height, width] of the map's own size (not 0 where covered; empty for none).
struct Region {
  std::vector<Rectangle> boxes;
  double frame_width = 0, frame_height = 0;
  std::vector<uint8_t> mask;
};

// What one heat map is about.
struct Subject {
  std::string sample;  // the image or grid: maps of one sample are not independent of each other
  int target = 0;      // class
  int cell = 0;        // of a grid, row-major, where the target lies
  Region region;       // for energy pointing
};

struct Record {
  std::string sample;
  int target = 0, cell = 0;
  double value = 0;
  bool operator==(const Record&) const = default;
};

// box5: mean over 5 x 5 pixels, zero padding counted; gauss129: 129 taps, sigma 32.25, reflect padding, for maps with
// sides above 128 (protocol.md 6.3).
enum class Smoothing { none, box5, gauss129 };

class Metric {
 public:
  virtual ~Metric() = default;
  virtual std::string name() const = 0;
  // maps [count, height, width] on the device of `context`, one subject each. Throws hp::Error if they do not fit.
  std::vector<Record> score(Context context, const Tensor& maps, std::span<const Subject> subjects) const;
  // One value per map, on the host.
  virtual std::vector<double> values(Context context, const Tensor& maps, std::span<const Subject> subjects) const = 0;
};

using MetricPtr = std::unique_ptr<const Metric>;

// Names and options (defaults first):
//   grid_pointing    cells 2 to 16 (required), smoothing "box5" | "gauss129" | "none"
//   energy_pointing  smoothing "box5" | "gauss129" | "none"; region "all" | "box" | "mask": what of a subject's counts
//   entropy          none
//   gini             none
// Throws hp::Error on an unknown name or option.
MetricPtr make_metric(const std::string& name, const nlohmann::json& options);
std::vector<std::string> metric_names();

// New maps of the same shape (the same ones for `none`). Throws hp::Error where gauss129 meets a side below 129.
Tensor smoothed(Context context, const Tensor& maps, Smoothing smoothing);

}  // namespace hp
