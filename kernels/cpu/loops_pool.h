// PoolLoops: pooling over one row of outputs (forward) or of inputs (adjoint), vectorised over channels.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// One image [height, width, channels], its pooled map [out_height, out_width, channels], and the block of channels
// [channel_begin, channel_end) to work on.
struct PoolImage {
  int64_t height, width, channels, out_height, out_width;
  int64_t window_height, window_width, stride, padding;
  int64_t channel_begin, channel_end;
};

struct PoolLoops {
  // x, y and argmax point at the image; row out_y of y and argmax is written.
  void (*max_row)(const PoolImage&, int64_t out_y, const float* x, float* y, int32_t* argmax);
  void (*average_row)(const PoolImage&, int64_t out_y, const float* x, float* y);
  // Row in_y of dx is written: the sum over all windows that contain it, from top left to bottom right.
  void (*max_row_vjp)(const PoolImage&, int64_t in_y, const int32_t* argmax, const float* dy, float* dx);
  void (*average_row_vjp)(const PoolImage&, int64_t in_y, const float* dy, float* dx);
};

template <>
const PoolLoops& loops<PoolLoops, Isa::baseline>();
template <>
const PoolLoops& loops<PoolLoops, Isa::avx2>();
template <>
const PoolLoops& loops<PoolLoops, Isa::avx512>();

}  // namespace hp
