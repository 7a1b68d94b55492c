#include "tools/experiment/map_source.h"

#include <algorithm>
#include <set>

#include "runtime/error.h"
#include "runtime/random.h"

namespace hp {

namespace {

PictureReader reader(const Experiment& experiment, const Network& network, const SplitData& test, Observer* observer) {
  return {*test.images, network.preprocess, experiment.workers, observer};
}

Tensor uploaded(const Tensor& host, Context context) {
  const Tensor device = context.scratch.take(host.shape());
  context.kernels.upload(host.floats(), host.bytes(), device.floats());
  return device;
}

// The pixels of every object of a class; empty if there are none, as a picture's crop may leave none.
std::vector<uint8_t> united(std::span<const Mask> masks, int category) {
  std::vector<uint8_t> pixels;
  bool any = false;
  for (const Mask& mask : masks) {
    if (mask.category != category) continue;
    pixels.resize(mask.covered.size());
    for (size_t i = 0; i < pixels.size(); ++i) any |= (pixels[i] |= mask.covered[i]) != 0;
  }
  return any ? pixels : std::vector<uint8_t>{};
}

class GridSource final : public MapSource {
 public:
  GridSource(PictureReader pictures, const SplitData& test, int64_t cells, std::vector<Grid> grids)
      : MapSource(std::move(pictures)), test_(test), cells_(cells), grids_(std::move(grids)) {
    for (const Grid& grid : grids_) targets_.push_back(grid.labels);
  }

  MapBatch load(const TargetBatch& batch, Context context) override {
    const Batch loaded = pictures_.read(pictures_of(batch));
    MapBatch result{assemble_grids(context, uploaded(loaded.images, context), cells_), {}};
    const size_t count = batch.images.size();
    for (size_t row = 0; row < batch.targets.size(); ++row) {
      result.subjects.push_back(
          {sample_name(batch.images[row % count]), batch.targets[row], static_cast<int>(row / count), {}});
    }
    return result;
  }

  std::string sample_name(int64_t ordinal) const override { return fmt::format("grid {}", ordinal); }
  std::string title(const Subject& subject) const override {
    return fmt::format("cell {}: {}", subject.cell, test_.images->classes()[static_cast<size_t>(subject.target)]);
  }

 private:
  std::vector<int64_t> pictures_of(const TargetBatch& batch) const override {
    std::vector<int64_t> indices;
    for (int64_t grid : batch.images) {
      const std::vector<int64_t>& images = grids_[static_cast<size_t>(grid)].images;
      indices.insert(indices.end(), images.begin(), images.end());
    }
    return indices;
  }

  const SplitData& test_;
  int64_t cells_;
  std::vector<Grid> grids_;
};

class ImageSource final : public MapSource {
 public:
  ImageSource(PictureReader pictures, const SplitData& test, uint64_t seed, int64_t count)
      : MapSource(std::move(pictures)), test_(test) {
    // Listings go class by class: the first images of a permutation by seed show all of them.
    rows_ = permutation(Random(seed, "evaluated images"), test.features->size());
    // Without boxes, and where they come with the pictures, the labels are the targets.
    const bool by_boxes = test.images->has_boxes() && !test.images->loaded_regions();
    if (count > 0 && count < static_cast<int64_t>(rows_.size())) rows_.resize(static_cast<size_t>(count));
    for (int64_t ordinal = 0; ordinal < static_cast<int64_t>(rows_.size()); ++ordinal) {
      std::set<int> classes;
      if (!by_boxes) classes.insert(item(ordinal).labels.begin(), item(ordinal).labels.end());
      for (const Box& box : item(ordinal).boxes) {
        if (!box.difficult) classes.insert(box.category);
      }
      targets_.emplace_back(classes.begin(), classes.end());
    }
  }

  MapBatch load(const TargetBatch& batch, Context context) override {
    const Batch loaded = pictures_.read(pictures_of(batch));
    MapBatch result{uploaded(loaded.images, context), {}};
    const size_t count = batch.images.size();
    for (size_t row = 0; row < batch.targets.size(); ++row) {
      const Sample& sample = loaded.samples[row % count];
      Subject subject{sample_name(batch.images[row % count]), batch.targets[row], 0, {}};
      for (const Box& box : sample.boxes) {
        if (box.category == subject.target && !box.difficult)
          subject.region.boxes.push_back({box.x0, box.y0, box.x1, box.y1});
      }
      subject.region.mask = united(sample.masks, subject.target);
      result.subjects.push_back(std::move(subject));
    }
    return result;
  }

  std::string sample_name(int64_t ordinal) const override { return item(ordinal).id; }
  std::string title(const Subject& subject) const override {
    return test_.images->classes()[static_cast<size_t>(subject.target)];
  }

 private:
  std::vector<int64_t> pictures_of(const TargetBatch& batch) const override {
    std::vector<int64_t> indices;
    for (int64_t ordinal : batch.images) indices.push_back(sample(ordinal));
    return indices;
  }
  int64_t sample(int64_t ordinal) const { return test_.features->sample(rows_[static_cast<size_t>(ordinal)]); }
  const Item& item(int64_t ordinal) const { return test_.images->item(sample(ordinal)); }

  const SplitData& test_;
  std::vector<int64_t> rows_;  // of the test features, in the order of explaining
};

}  // namespace

std::unique_ptr<MapSource> grid_source(const Experiment& experiment, const Network& network, const SplitData& test,
                                       const TestedProbes& probes, const ImageSet& set, int64_t count,
                                       Observer* observer) {
  require(!test.labels.multi_label(),
          "[experiment] grids need one label an image; got multi-label data; expected the metric epg there");
  std::vector<Scores> scores;
  for (size_t i = 0; i < probes.probes.size(); ++i) {
    const bool softmax = probes.probes[i].spec().loss == LossKind::ce;
    scores.push_back(
        {probes.predictions[i].logits, softmax ? Scores::Probability::softmax : Scores::Probability::sigmoid});
  }
  const std::vector<int64_t>& samples = probes.predictions[0].samples;
  std::vector<int> labels;
  for (int64_t sample : samples) labels.push_back(test.labels.label(sample));
  const std::vector<Candidate> candidates = select_candidates(scores, labels, {set.confidence, set.per_class});
  std::vector<Grid> grids = build_grids(candidates, {set.cells, count, experiment.seed});
  for (Grid& grid : grids) {
    for (int64_t& image : grid.images) image = samples[static_cast<size_t>(image)];
  }
  return std::make_unique<GridSource>(reader(experiment, network, test, observer), test, set.cells, std::move(grids));
}

std::unique_ptr<MapSource> image_source(const Experiment& experiment, const Network& network, const SplitData& test,
                                        int64_t count, Observer* observer) {
  return std::make_unique<ImageSource>(reader(experiment, network, test, observer), test, experiment.seed, count);
}

}  // namespace hp
