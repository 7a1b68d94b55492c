// Preprocess: what happens to a decoded picture before a model sees it; boxes and masks follow.
#pragma once

#include <string>

#include "tools/data/sample.h"

namespace hp {

enum class ResizeMode {
  none,
  shorter,  // the shorter side becomes `size`
  squash,   // both sides become `size`
};

// Pixels stay RGB bytes; normalisation is the first node of a model's graph.
struct Preprocess {
  ResizeMode resize = ResizeMode::none;
  int size = 0;  // needed unless resize is none
  int crop = 0;  // side of a central square, cut after resizing; 0: no crop
  Interpolation interpolation = Interpolation::bilinear;

  // Throws hp::Error on sizes that contradict each other.
  void check() const;
  // The side of the square result, or 0 where it depends on the picture.
  int output_side() const { return crop > 0 ? crop : resize == ResizeMode::squash ? size : 0; }
  Geometry geometry(int height, int width) const;
  // "shorter 256 bilinear, crop 224": equal text, equal pixels. Part of cache keys.
  std::string str() const;
};

// The sample with image, boxes and masks brought through the preprocessing (masks by nearest neighbour). Boxes are cut
// to the result; those outside it are dropped, and the labels stay.
Sample apply(const Preprocess& preprocess, Sample sample);

}  // namespace hp
