// ResizeLoops: bilinear resizing of one row of outputs (forward) or of inputs (adjoint), vectorised over channels.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// One image [height, width, channels] and its resized map [out_height, out_width, channels].
struct ResizeImage {
  int64_t height, width, channels, out_height, out_width;
};

struct ResizeLoops {
  // x and y point at the image; row out_y of y is written.
  void (*row)(const ResizeImage&, int64_t out_y, const float* x, float* y);
  // Row in_y of dx is written: the sum over all outputs that read it, from top left to bottom right.
  void (*row_vjp)(const ResizeImage&, int64_t in_y, const float* dy, float* dx);
};

template <>
const ResizeLoops& loops<ResizeLoops, Isa::baseline>();
template <>
const ResizeLoops& loops<ResizeLoops, Isa::avx2>();
template <>
const ResizeLoops& loops<ResizeLoops, Isa::avx512>();

}  // namespace hp
