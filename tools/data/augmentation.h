// Augmentation: random crops and flips of training pictures by counter-based numbers; boxes and masks follow.
#pragma once

#include <cstdint>
#include <string>

#include "tools/data/preprocess.h"
#include "tools/data/sample.h"

namespace hp {

enum class RandomCrop {
  none,
  // A part of random area and aspect, resized to size x size: protocol.md 3.5, as torchvision's and mmpretrain's
  // RandomResizedCrop. It takes the place of the preprocessing, whose interpolation it uses.
  resized,
  // The preprocessed picture with `padding` black pixels on each side, and a part of size x size at a random place:
  // protocol.md 1.8, as torchvision's RandomCrop(size, padding).
  padded,
};

struct Augmentation {
  RandomCrop crop = RandomCrop::none;
  int size = 0;  // side of the result; 0: what the preprocessing gives, or the picture's own height and width
  double min_area = 0.08, max_area = 1;                   // shares of the picture (resized)
  double min_aspect = 3.0 / 4.0, max_aspect = 4.0 / 3.0;  // width / height of the part (resized)
  int padding = 4;                                        // pixels (padded)
  double flip = 0;                                        // probability of a horizontal flip

  bool active() const { return crop != RandomCrop::none || flip > 0; }
  // Throws hp::Error on ranges that are empty or out of bounds.
  void check() const;
  // "resized crop 64, area 0.08 to 1, aspect 0.75 to 1.33333, flip 0.5": equal text, equal pictures for equal keys.
  std::string str() const;
};

// Every random number of a picture is a pure function of these, whatever the order or the threads.
struct AugmentationKey {
  uint64_t seed = 0;
  uint64_t epoch = 0;
  int64_t image = 0;  // index in the data set
};

// What one picture goes through: the part [left, left + width) x [top, top + height), which may reach outside (black),
// is resized to result_height x result_width, then mirrored left to right if `flipped`.
struct View {
  int top = 0, left = 0, height = 0, width = 0;
  int result_height = 0, result_width = 0;
  bool flipped = false;
};

// The random choice for a picture of height x width pixels (for RandomCrop::padded and none: as preprocessed).
View random_view(const Augmentation& augmentation, int height, int width, const AugmentationKey& key);

// The sample seen through a view: boxes are cut to it, those outside are dropped; masks follow by nearest neighbour;
// labels stay. `geometry` becomes the identity of the result, since it cannot express a view.
Sample apply(const View& view, Interpolation interpolation, Sample sample);

// A decoded sample through preprocessing and augmentation; without an active augmentation equal to apply(preprocess,
// sample).
Sample augmented(const Preprocess& preprocess, const Augmentation& augmentation, const AugmentationKey& key,
                 Sample sample);

}  // namespace hp
