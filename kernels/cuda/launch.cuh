// What every .cu file shares: the one way to launch a kernel, 128-bit packs, reductions in a fixed order.
//
// Device code, for .cu files only. The same files are compiled as C++ by tests/cuda_host; its only trace here is
// dynamic_shared().
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_state.h"

namespace hp {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;
};

template <class... Expected, class... Given>
void launch(const CudaState& state, const char* what, const LaunchShape& shape, void (*kernel)(Expected...),
            Given&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = state.stream();
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Given>(arguments)...), what);
}

// The launch's dynamic shared memory.
template <class T>
__device__ T* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char hp_dynamic_shared[];
  return reinterpret_cast<T*>(hp_dynamic_shared);
#else
  return static_cast<T*>(cuda_host::dynamic_shared());
#endif
}

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// --- `width` floats that lie side by side: 1, or 4 in one 128-bit access
template <int width>
struct Pack {
  float at[width];
};

template <int width>
__device__ Pack<width> load(const float* from) {
  if constexpr (width == 4) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    return {{four.x, four.y, four.z, four.w}};
  } else {
    return {{*from}};
  }
}

template <int width>
__device__ void store(const Pack<width>& values, float* to) {
  if constexpr (width == 4) {
    *reinterpret_cast<float4*>(to) = float4{values.at[0], values.at[1], values.at[2], values.at[3]};
  } else {
    *to = values.at[0];
  }
}

inline bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % sizeof(float4) == 0; }
// Whether rows of these arrays can be read 4 floats at a time.
inline bool is_wide(int64_t columns, std::initializer_list<const void*> arrays) {
  return columns % 4 == 0 && std::ranges::all_of(arrays, is_aligned);
}

// --- max(x, 0) and min(x, 0) that keep a NaN
__device__ inline float positive_part_of(float x) { return 0.0f > x ? 0.0f : x; }
__device__ inline float negative_part_of(float x) { return 0.0f < x ? 0.0f : x; }

// --- reductions; the order of the operations depends on the shape of the block alone
struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Largest {  // that is a number
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <class T, class Op>
__device__ T warp_reduce(T value, Op op) {
  for (int distance = 16; distance > 0; distance /= 2) value = op(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// A group of threads that work on one row together: 32 lanes of a warp, or a whole block (whose size is a multiple of
// 32). Every thread gets a reduction's result.
struct WarpTeam {
  __device__ static int rank() { return static_cast<int>(threadIdx.x % 32); }
  __device__ static int size() { return 32; }
  __device__ static int64_t index() { return (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32; }
  __device__ static int64_t count() { return int64_t{gridDim.x} * blockDim.x / 32; }
  template <class T, class Op>
  __device__ static T reduce(T value, Op op, T) {
    return warp_reduce(value, op);
  }
};

struct BlockTeam {
  __device__ static int rank() { return static_cast<int>(threadIdx.x); }
  __device__ static int size() { return static_cast<int>(blockDim.x); }
  __device__ static int64_t index() { return blockIdx.x; }
  __device__ static int64_t count() { return gridDim.x; }
  template <class T, class Op>
  __device__ static T reduce(T value, Op op, T neutral) {
    __shared__ T partial[32];
    const unsigned lane = threadIdx.x % 32;
    value = warp_reduce(value, op);
    if (lane == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = warp_reduce(lane < blockDim.x / 32 ? partial[lane] : neutral, op);
    __syncthreads();  // before the next reduction overwrites the parts
    return value;
  }
};

// body(column) for this thread's share of the columns, `width` at a time.
template <int width, class Team, class Body>
__device__ void for_columns(Team, int64_t columns, Body body) {
  for (int64_t column = int64_t{Team::rank()} * width; column < columns; column += int64_t{Team::size()} * width) {
    body(column);
  }
}

template <int width, class Team, class F>
__global__ void row_kernel(int64_t rows, F f) {
  for (int64_t row = Team::index(); row < rows; row += Team::count()) f.template run<width>(Team{}, row);
}

// f.run<width>(team, row) for every row: a warp each, or a block each where rows are long. `wide` says that every array
// of the row may be read 4 floats at a time.
template <class F>
void for_rows(const CudaState& state, const char* what, int64_t rows, int64_t columns, bool wide, const F& f) {
  constexpr int threads = 256, warps = threads / 32;
  constexpr int64_t longest_for_a_warp = 1024;
  if (rows == 0) return;
  if (columns <= longest_for_a_warp) {
    const LaunchShape shape{dim3(state.blocks(divide_up(rows, warps))), dim3(threads)};
    launch(state, what, shape, wide ? row_kernel<4, WarpTeam, F> : row_kernel<1, WarpTeam, F>, rows, f);
  } else {
    const LaunchShape shape{dim3(state.blocks(rows)), dim3(threads)};
    launch(state, what, shape, wide ? row_kernel<4, BlockTeam, F> : row_kernel<1, BlockTeam, F>, rows, f);
  }
}

// Threads of a two-dimensional task: x along `positions` (side by side in memory), y along `repeats`.
inline LaunchShape plane_shape(const CudaState& state, int64_t positions, int64_t repeats) {
  constexpr unsigned threads = 256;
  unsigned across = 1;
  while (across < threads && across < positions) across *= 2;
  const unsigned down = threads / across;
  const unsigned grid_x = state.blocks(divide_up(positions, across));
  const unsigned most = state.blocks(INT64_MAX);
  const int64_t grid_y = std::clamp<int64_t>(most / grid_x, 1, divide_up(repeats, down));
  return {dim3(grid_x, static_cast<unsigned>(std::min<int64_t>(grid_y, 65535))), dim3(across, down)};
}

}  // namespace hp
