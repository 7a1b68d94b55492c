#include "attribution/metrics/grids.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/error.h"
#include "runtime/random.h"

namespace hp {

namespace {

// The probability of column `label`, or 0 where another column is above it.
double confidence_in(std::span<const float> logits, size_t label, Scores::Probability probability) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  if (!(logits[label] == largest)) return 0;
  if (probability == Scores::Probability::sigmoid) return 1 / (1 + std::exp(-static_cast<double>(largest)));
  double total = 0;
  for (float logit : logits) total += std::exp(static_cast<double>(logit) - largest);
  return 1 / total;
}

}  // namespace

std::vector<Candidate> select_candidates(std::span<const Scores> probes, std::span<const int> labels,
                                         const Selection& selection) {
  require(!probes.empty(), "[grids] no probe; expected at least one to choose images by");
  std::map<int, int64_t> taken;
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < labels.size(); ++i) {
    double least = 1;
    for (const Scores& probe : probes) {
      const size_t classes = probe.logits.size() / labels.size();
      require(
          classes * labels.size() == probe.logits.size() && labels[i] >= 0 && static_cast<size_t>(labels[i]) < classes,
          "[grids] logits do not fit the labels; got {} values for {} images, label {}", probe.logits.size(),
          labels.size(), labels[i]);
      const size_t label = static_cast<size_t>(labels[i]);
      least = std::min(least, confidence_in(probe.logits.subspan(i * classes, classes), label, probe.probability));
    }
    if (least >= selection.confidence && taken[labels[i]] < selection.most_per_class) {
      ++taken[labels[i]];
      candidates.push_back({static_cast<int64_t>(i), labels[i]});
    }
  }
  return candidates;
}

std::vector<Grid> build_grids(std::span<const Candidate> candidates, const GridPlan& plan) {
  std::map<int, std::vector<int64_t>> by_label;
  for (const Candidate& candidate : candidates) by_label[candidate.label].push_back(candidate.image);
  const int64_t wanted = plan.cells * plan.cells;
  require(plan.cells >= 1 && static_cast<int64_t>(by_label.size()) >= wanted,
          "[grids] too few classes for {0} x {0} grids; got {1} classes with an image that every probe classifies "
          "correctly and confidently ({2} such images); expected at least {3}: lower the confidence, give more images, "
          "or make smaller grids",
          plan.cells, by_label.size(), candidates.size(), wanted);
  std::vector<int> labels;
  labels.reserve(by_label.size());
  for (const auto& [label, images] : by_label) labels.push_back(label);
  std::vector<Grid> grids;
  for (int64_t i = 0; i < plan.count; ++i) {
    const Random random(plan.seed, fmt::format("grid {0}x{0}", plan.cells), static_cast<uint64_t>(i));
    std::vector<int> pool = labels;
    Grid grid;
    for (int64_t cell = 0; cell < wanted; ++cell) {
      const auto draw = static_cast<uint64_t>(2 * cell);
      const int64_t which = random.below(draw, static_cast<int64_t>(pool.size()));
      const int label = pool[static_cast<size_t>(which)];
      pool.erase(pool.begin() + which);
      const std::vector<int64_t>& images = by_label[label];
      grid.labels.push_back(label);
      grid.images.push_back(images[static_cast<size_t>(random.below(draw + 1, static_cast<int64_t>(images.size())))]);
    }
    grids.push_back(std::move(grid));
  }
  return grids;
}

Tensor assemble_grids(Context context, const Tensor& images, int64_t cells) {
  const Shape& shape = images.shape();
  require(
      cells >= 1 && shape.rank() == 4 && shape[0] % (cells * cells) == 0,
      "[grids] images do not fill grids of {0} x {0}; got {1}; expected [grids * {0} * {0}, height, width, channels]",
      cells, shape.str());
  const int64_t grids = shape[0] / (cells * cells), height = shape[1], row = shape[2] * shape[3];
  const Tensor result = context.scratch.take(Shape{grids, cells * height, cells * shape[2], shape[3]});
  for (int64_t grid = 0; grid < grids; ++grid) {
    const int64_t begin = grid * cells * cells * height * row;
    const Block block{.extent = {cells, cells, height, row},
                      .src_offset = begin,
                      .src_stride = {cells * height * row, height * row, row, 1},
                      .dst_offset = begin,
                      .dst_stride = {height * cells * row, row, cells * row, 1}};
    context.kernels.copy_block(block, images.floats(), result.floats());
  }
  return result;
}

}  // namespace hp
