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
#include "tools/experiment/picture_reader.h"
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
  // Starts to read the pictures of a batch beside the computation: the next load() finds them.
  void expect(const TargetBatch& batch) { pictures_.expect(pictures_of(batch)); }
  virtual MapBatch load(const TargetBatch& batch, Context context) = 0;
  // "grid 3", or the image's file.
  virtual std::string sample_name(int64_t ordinal) const = 0;
  virtual std::string title(const Subject& subject) const = 0;  // "cell 5: horse"

 protected:
  explicit MapSource(PictureReader pictures) : pictures_(std::move(pictures)) {}
  // In the test images, in the order in which a batch has them.
  virtual std::vector<int64_t> pictures_of(const TargetBatch& batch) const = 0;

  PictureReader pictures_;
  std::vector<std::vector<int>> targets_;
};

// Grids of test images that every probe classifies correctly and confidently; `count` of them. Throws hp::Error with
// numbers if too few classes have such images. The observer, which may be null, is told of reading and decoding.
std::unique_ptr<MapSource> grid_source(const Experiment& experiment, const Network& network, const SplitData& test,
                                       const TestedProbes& probes, const ImageSet& set, int64_t count,
                                       Observer* observer);

// `count` of the readable test images (0: all), drawn by seed; fewer are a part of more. Targets are the classes of
// their boxes that are not difficult, or their labels where the data has no boxes.
std::unique_ptr<MapSource> image_source(const Experiment& experiment, const Network& network, const SplitData& test,
                                        int64_t count, Observer* observer);

}  // namespace hp
