// Resizing and cropping of images, equal to Pillow's, and the geometry that boxes and masks follow.
#pragma once

#include <cstdint>

#include "tools/data/image.h"

namespace hp {

enum class Interpolation { bilinear, bicubic };

// Separable, antialiased: the kernel (triangle, or Keys' cubic convolution with a = -0.5, IEEE Trans. ASSP 29, 1981) is
// widened by the reduction factor; rows first, then columns, each pass in 22-bit fixed point rounded to bytes. Equal to
// Pillow's Image.resize bit for bit.
Image resize(const Image& image, int height, int width, Interpolation interpolation);

// The part of an image that starts at (top, left), which may lie outside: what the image does not cover is black.
Image crop(const Image& image, int top, int left, int height, int width);

// Where pixels of a source image end up: scaled to resized_height x resized_width, then cut to height x width from
// (top, left) on. A negative offset pads. Coordinates are continuous: pixel i covers [i, i + 1).
struct Geometry {
  int source_height = 0, source_width = 0;
  int resized_height = 0, resized_width = 0;
  int top = 0, left = 0;
  int height = 0, width = 0;

  static Geometry identity(int height, int width);
  // The shorter side becomes `size`, the longer one floor(size * longer / shorter), as torchvision and mmcv do.
  Geometry shorter_side_to(int size) const;
  // Both sides become `size`; the aspect ratio is not kept.
  Geometry squash_to(int size) const;
  // The central size x size part. Offsets round half to even; an image that is too small is padded, as torchvision does
  // both.
  Geometry centre_crop(int size) const;

  // Source coordinate to result coordinate. Multiplies before it divides, so whole results are exact.
  double x(double source_x) const { return source_x * resized_width / source_width - left; }
  double y(double source_y) const { return source_y * resized_height / source_height - top; }
};

// The image of size source_height x source_width brought to height x width.
Image apply(const Geometry& geometry, const Image& image, Interpolation interpolation);

}  // namespace hp
