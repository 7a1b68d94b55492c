// Strided copies: rows in packs where both sides run on, square tiles through shared memory where axes change places.
#include "kernels/cuda/launch.cuh"
#include "kernels/move_axis.h"

namespace hp {

namespace {

constexpr unsigned tile = 32, tile_rows = 8;

struct Move {
  MoveAxis axes[4];  // outermost first
  const float* src;
  float* dst;
};

// One row of the innermost axis, contiguous on both sides, per y; `width` floats per x.
template <int width>
__global__ void copy_rows_kernel(Move move) {
  const int64_t rows = move.axes[0].extent * move.axes[1].extent * move.axes[2].extent;
  const int64_t step_x = int64_t{gridDim.x} * blockDim.x * width, step_y = int64_t{gridDim.y} * blockDim.y;
  for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step_y) {
    const float* from = move.src;
    float* to = move.dst;
    int64_t rest = row;
    for (int axis = 2; axis >= 0; --axis) {
      from += rest % move.axes[axis].extent * move.axes[axis].src_stride;
      to += rest % move.axes[axis].extent * move.axes[axis].dst_stride;
      rest /= move.axes[axis].extent;
    }
    for (int64_t i = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width; i < move.axes[3].extent; i += step_x) {
      store<width>(load<width>(from + i), to + i);
    }
  }
}

// A tile of the two inner axes is read along the third and written along the fourth.
__global__ void transpose_kernel(Move move) {
  __shared__ float values[tile][tile + 1];
  const MoveAxis third = move.axes[2], fourth = move.axes[3];
  const int64_t planes = move.axes[0].extent * move.axes[1].extent;
  const int64_t row = int64_t{blockIdx.y} * tile, column = int64_t{blockIdx.x} * tile;
  for (int64_t plane = blockIdx.z; plane < planes; plane += gridDim.z) {
    const int64_t outer = plane / move.axes[1].extent, inner = plane % move.axes[1].extent;
    const float* from = move.src + outer * move.axes[0].src_stride + inner * move.axes[1].src_stride;
    float* to = move.dst + outer * move.axes[0].dst_stride + inner * move.axes[1].dst_stride;
    for (unsigned j = threadIdx.y; j < tile; j += tile_rows) {
      const int64_t r = row + threadIdx.x, c = column + j;
      if (r >= third.extent || c >= fourth.extent) continue;
      values[j][threadIdx.x] = from[r * third.src_stride + c * fourth.src_stride];
    }
    __syncthreads();
    for (unsigned j = threadIdx.y; j < tile; j += tile_rows) {
      const int64_t r = row + j, c = column + threadIdx.x;
      if (r >= third.extent || c >= fourth.extent) continue;
      to[r * third.dst_stride + c * fourth.dst_stride] = values[threadIdx.x][j];
    }
    __syncthreads();
  }
}

bool in_packs(const Move& move) {
  bool fits = is_aligned(move.src) && is_aligned(move.dst) && move.axes[3].extent % 4 == 0;
  for (int axis = 0; axis < 3; ++axis) {
    fits = fits && (move.axes[axis].extent == 1 ||
                    (move.axes[axis].src_stride % 4 == 0 && move.axes[axis].dst_stride % 4 == 0));
  }
  return fits;
}

}  // namespace

void CudaKernels::copy_block(const Block& block, const float* src, float* dst) {
  const std::array<MoveAxis, 4> axes = ordered_axes(block);
  const Move move{{axes[0], axes[1], axes[2], axes[3]}, src + block.src_offset, dst + block.dst_offset};
  const int64_t planes = axes[0].extent * axes[1].extent;
  if (planes * axes[2].extent * axes[3].extent == 0) return;
  if (axes[3].src_stride == 1 && axes[3].dst_stride == 1) {
    const bool packs = in_packs(move);
    const LaunchShape shape =
        plane_shape(*state_, packs ? axes[3].extent / 4 : axes[3].extent, planes * axes[2].extent);
    return launch(*state_, "copy_block", shape, packs ? copy_rows_kernel<4> : copy_rows_kernel<1>, move);
  }
  const dim3 grid(static_cast<unsigned>(divide_up(axes[3].extent, tile)),
                  static_cast<unsigned>(divide_up(axes[2].extent, tile)),
                  static_cast<unsigned>(std::min<int64_t>(planes, 65535)));
  launch(*state_, "copy_block", {grid, dim3(tile, tile_rows)}, transpose_kernel, move);
}

}  // namespace hp
