// Sample: one picture with what is known about it, in the picture's own pixel coordinates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/data/image.h"
#include "tools/data/resize.h"

namespace hp {

// A rectangle [x0, x1) x [y0, y1) in continuous pixel coordinates: pixel i covers [i, i + 1).
struct Box {
  int category = 0;  // index into the data set's classes
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  bool difficult = false;
  bool operator==(const Box&) const = default;
};

// The pixels of one object or class: [height, width], not 0 where covered.
struct Mask {
  int category = 0;
  int height = 0, width = 0;
  std::vector<uint8_t> covered{};
};

struct Sample {
  Image image;
  std::vector<int> labels;     // classes present, ascending; one for single-label data
  std::vector<int> difficult;  // classes present in difficult objects only, ascending: neither positive nor negative
  std::vector<Box> boxes;      // all objects, difficult ones too
  std::vector<Mask> masks;
  std::string id;         // the file within its data set
  Geometry geometry;      // from the decoded picture to `image`
  int clipped_boxes = 0;  // boxes that reached outside the picture: cut, or dropped where nothing was left
};

}  // namespace hp
