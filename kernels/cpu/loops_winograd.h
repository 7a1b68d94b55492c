// Loops of Winograd's convolution F(4x4, 3x3) (Lavin and Gray 2016): 36 products per channel and filter for 16 results
// instead of 144. A tile is 4x4 positions of the result and the 6x6 positions of the input that they read.
//
//   y = A^T [sum over channels of (G w G^T) (B^T x B)] A, elementwise products at 36 points
//
// and its adjoint for the weight, dw = G^T [sum over tiles of (B^T x B) (A dy A^T)] G. The points are 0, +-5/8, +-3/2
// and infinity, with which single precision loses about one bit against the direct sum.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace hp {

// A feature map [batch, height, width, channels] cut into tiles, in the order [batch, tiles_y, tiles_x]. The map is
// surrounded by zeros; channels are a multiple of winograd_channels.
struct WinogradMap {
  int64_t height = 0, width = 0, channels = 0;
  int64_t tiles_y() const { return (height + 3) / 4; }
  int64_t tiles_x() const { return (width + 3) / 4; }
};

inline constexpr int64_t winograd_points = 36;
inline constexpr int64_t winograd_channels = 16;
// The products take so many tiles at a time where there are enough.
inline constexpr int64_t winograd_tiles = 24;

// Where the 3x3 kernel of a channel and a result lies, and whether it is turned by half a turn, as the adjoint has it.
struct WinogradKernels {
  int64_t channel_step = 9, result_step = 9;
  bool turned = false;
};

// What becomes of a result: + bias[channel] + addend[i], the latter perhaps the result's own place; null: 0.
struct WinogradAddends {
  const float* bias = nullptr;
  const float* addend = nullptr;
};

// Transformed tiles: value[point * stride + tile * channels + channel]. Strides are a few floats longer than they need
// to be, so that the points of a tile do not meet in one set of the cache.
struct WinogradLoops {
  // u[point][block of results][channel][result of the block] = G w G^T, for `count` of `results` from `first` on.
  void (*transform_weight)(const WinogradKernels& kernels, int64_t first, int64_t count, int64_t results,
                           int64_t channels, const float* w, float* u);
  // v = B^T x B of `count` tiles from `first` on, which reach one position over their own on all sides.
  void (*transform_input)(const WinogradMap& map, int64_t first, int64_t count, const float* x, int64_t stride,
                          float* v);
  // v = A dy A^T
  void (*transform_gradient)(const WinogradMap& map, int64_t first, int64_t count, const float* dy, int64_t stride,
                             float* v);
  // y = A^T m A + what is to be added
  void (*transform_output)(const WinogradMap& map, int64_t first, int64_t count, int64_t stride, const float* m,
                           const WinogradAddends& addends, float* y);
  // Blocks of results per point.
  int64_t (*blocks)(int64_t results);
  // m[point, tile, result] = sum over channels of v[point, tile, channel] u[point, channel, result], for blocks [begin,
  // end) of all points' blocks in a row.
  void (*multiply)(int64_t begin, int64_t end, int64_t tiles, int64_t channels, int64_t results, int64_t v_stride,
                   const float* v, const float* u, int64_t m_stride, float* m);
  // g[point, channel, filter] += sum over tiles of v[point, tile, channel] d[point, tile, filter]
  void (*accumulate)(int64_t tiles, int64_t channels, int64_t filters, int64_t v_stride, const float* v,
                     int64_t d_stride, const float* d, float* g);
  // dw[filter, channel, 3, 3] = G^T g G for `count` channels from `first` on, g the sum of `parts` in a row
  void (*transform_weight_gradient)(int64_t first, int64_t count, int64_t channels, int64_t filters, int parts,
                                    const float* g, float* dw);
};

template <>
const WinogradLoops& loops<WinogradLoops, Isa::baseline>();
template <>
const WinogradLoops& loops<WinogradLoops, Isa::avx2>();
template <>
const WinogradLoops& loops<WinogradLoops, Isa::avx512>();

}  // namespace hp
