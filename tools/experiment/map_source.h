// MapSource: the images that attributions are computed for, with the classes to explain and where their evidence should
// lie.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "attribution/metrics/grids.h"
#include "attribution/metrics/metric.h"
#include "attribution/target_batches.h"
#include "tools/experiment/probes_run.h"

namespace hp {

// Images (or grids) of one batch with one Subject per row t * batch + b.
struct MapBatch {
  Tensor images;  // [batch, height, width, 3] on the device
  std::vector<Subject> subjects;
};

class MapSource {
 public:
  virtual ~MapSource() = default;
  int64_t size() const { return static_cast<int64_t>(targets_.size()); }
  // Classes to explain of each image or grid, in order.
  const std::vector<std::vector<int>>& targets() const { return targets_; }
  virtual MapBatch load(const TargetBatch& batch, Context context) const = 0;
  // "grid 3", or the image's file.
  virtual std::string sample_name(int64_t ordinal) const = 0;
  virtual std::string title(const Subject& subject) const = 0;  // "cell 5: horse"

 protected:
  std::vector<std::vector<int>> targets_;
};

// Grids of test images that every probe classifies correctly and confidently; `count` of them. Throws hp::Error with
// numbers if too few classes have such images.
std::unique_ptr<MapSource> grid_source(const Experiment& experiment, const Network& network, const SplitData& test,
                                       const TestedProbes& probes, const ImageSet& set, int64_t count);

// `count` of the readable test images (0: all), drawn by seed; fewer are a part of more. Targets are the classes of
// their boxes that are not difficult, or their labels where the data has no boxes.
std::unique_ptr<MapSource> image_source(const Experiment& experiment, const Network& network, const SplitData& test,
                                        int64_t count);

}  // namespace hp
