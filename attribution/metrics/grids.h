// Grids of the grid pointing game: n x n images of distinct classes in one picture (protocol.md 6.1, 6.2).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/arena_pool.h"

namespace hp {

// An image that may stand in a grid: every probe classifies it correctly and confidently.
struct Candidate {
  int64_t image = 0;  // the caller's index
  int label = 0;
};

// What one probe says about the images: row i is image i.
struct Scores {
  enum class Probability { softmax, sigmoid };
  std::span<const float> logits;  // [images, classes], on the host
  Probability probability = Probability::softmax;
};

struct Selection {
  double confidence = 0.95;
  int64_t most_per_class = 100;
};

// The images whose arg-max is their label with at least `confidence`, for every probe, in order, until a class is full.
std::vector<Candidate> select_candidates(std::span<const Scores> probes, std::span<const int> labels,
                                         const Selection& selection);

struct Grid {
  std::vector<int64_t> images;  // cells in row-major order
  std::vector<int> labels;      // of the cells: all different
};

struct GridPlan {
  int64_t cells = 3;  // a side
  int64_t count = 0;
  uint64_t seed = 0;
};

// Classes uniformly among those with candidates, then an image uniformly within the class. Grid i depends on the
// candidates, the seed, the number of cells and i alone. Throws hp::Error with the numbers if too few classes have
// candidates.
std::vector<Grid> build_grids(std::span<const Candidate> candidates, const GridPlan& plan);

// [grids * cells * cells, height, width, channels] -> [grids, cells * height, cells * width, channels], row-major
// cells.
Tensor assemble_grids(Context context, const Tensor& images, int64_t cells);

}  // namespace hp
