// Metrics on heat maps [count, height, width]: smoothing in two passes, sums with a block per map or cell.
#include <cmath>
#include <vector>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sort_cub.h"

namespace hp {

namespace {

enum class Border { zero, reflect };

// The position to read instead of `i`; what lies outside of [0, size) stands for a zero, or for nothing that is used.
__device__ int64_t source_of(Border border, int64_t i, int64_t size) {
  if (i >= 0 && i < size) return i;
  if (border == Border::zero) return -1;
  return i < 0 ? -i : 2 * (size - 1) - i;
}

// One axis of a separable filter: `lines` of `size` elements, `step` apart; neighbouring lines (x) lie side by side
// `lines_across` at a time. step = 1 filters rows, step = width columns.
struct FilterAxis {
  int64_t lines, size, step;
  int taps;
  Border border;
  const float *weights, *x;
  float* y;
  __device__ int64_t first(int64_t line) const {
    return step == 1 ? line * size : line / step * step * size + line % step;
  }
};

constexpr unsigned tile_lines = 32, tile_threads = 8;
constexpr int per_thread = 8, tile_length = tile_threads * per_thread;

// A block filters tile_length elements of 32 lines: these and their neighbours pass through shared memory once. Threads
// that lie side by side read side by side, along the lines' own axis (rows) or across the lines (columns).
template <bool rows>
__global__ void filter_kernel(FilterAxis axis) {
  const int reach = tile_length + axis.taps - 1;
  float* weights = dynamic_shared<float>();
  float* tile = weights + axis.taps;  // [reach][tile_lines + 1]
  const int64_t line = int64_t{blockIdx.x} * tile_lines, begin = int64_t{blockIdx.y} * tile_length;
  const int thread = static_cast<int>(threadIdx.y * tile_lines + threadIdx.x);
  constexpr int threads = tile_lines * tile_threads;
  for (int i = thread; i < axis.taps; i += threads) weights[i] = axis.weights[i];
  for (int i = thread; i < reach * static_cast<int>(tile_lines); i += threads) {
    const int l = rows ? i / reach : i % static_cast<int>(tile_lines);
    const int at = rows ? i % reach : i / static_cast<int>(tile_lines);
    const int64_t from = source_of(axis.border, begin + at - axis.taps / 2, axis.size);
    const bool inside = line + l < axis.lines && from >= 0 && from < axis.size;
    tile[at * (tile_lines + 1) + l] = inside ? axis.x[axis.first(line + l) + from * axis.step] : 0.0f;
  }
  __syncthreads();
  float sums[per_thread] = {};
  for (int tap = 0; tap < axis.taps; ++tap) {
    const float weight = weights[tap];
    const float* column = tile + (threadIdx.y * per_thread + tap) * (tile_lines + 1) + threadIdx.x;
    for (int i = 0; i < per_thread; ++i) sums[i] = fmaf(weight, column[i * (tile_lines + 1)], sums[i]);
  }
  if (rows) {  // back through shared memory, so that neighbours write neighbours
    __syncthreads();
    for (int i = 0; i < per_thread; ++i)
      tile[(threadIdx.y * per_thread + i) * (tile_lines + 1) + threadIdx.x] = sums[i];
    __syncthreads();
    for (int i = thread; i < tile_length * static_cast<int>(tile_lines); i += threads) {
      const int l = i / tile_length, at = i % tile_length;
      if (line + l >= axis.lines || begin + at >= axis.size) continue;
      axis.y[axis.first(line + l) + begin + at] = tile[at * (tile_lines + 1) + l];
    }
    return;
  }
  if (line + threadIdx.x >= axis.lines) return;
  float* out = axis.y + axis.first(line + threadIdx.x);
  for (int i = 0; i < per_thread; ++i) {
    const int64_t at = begin + threadIdx.y * per_thread + i;
    if (at < axis.size) out[at * axis.step] = sums[i];
  }
}

void filter(const CudaState& state, const char* what, const FilterAxis& axis) {
  const dim3 grid(static_cast<unsigned>(divide_up(axis.lines, tile_lines)),
                  static_cast<unsigned>(divide_up(axis.size, tile_length)));
  const size_t floats = static_cast<size_t>(axis.taps + (tile_length + axis.taps - 1) * (int{tile_lines} + 1));
  launch(state, what, {grid, dim3(tile_lines, tile_threads), floats * sizeof(float)},
         axis.step == 1 ? filter_kernel<true> : filter_kernel<false>, axis);
}

// Both axes; the rows' result and the weights lie in scratch memory.
void smooth(CudaState& state, const char* what, Maps maps, const std::vector<float>& weights, Border border,
            const float* x, float* y) {
  if (maps.count * maps.pixels() == 0) return;
  const size_t taps = weights.size(), padded = (taps + 63) / 64 * 64;
  auto* device_weights = static_cast<float*>(state.scratch(
      CudaState::Scratch::filter, (padded + static_cast<size_t>(maps.count * maps.pixels())) * sizeof(float)));
  float* rows = device_weights + padded;
  state.upload(weights.data(), taps * sizeof(float), device_weights);
  FilterAxis axis{maps.count * maps.height, maps.width, 1, static_cast<int>(taps), border, device_weights, x, rows};
  filter(state, what, axis);
  axis = {maps.count * maps.width, maps.height, maps.width, static_cast<int>(taps), border, device_weights, rows, y};
  filter(state, what, axis);
}

// f.run(team, index) with a block for every index.
template <class F>
__global__ void block_kernel(int64_t count, F f) {
  for (int64_t index = BlockTeam::index(); index < count; index += BlockTeam::count()) f.run(index);
}

template <class F>
void for_blocks(const CudaState& state, const char* what, int64_t count, const F& f) {
  constexpr unsigned threads = 512;
  if (count == 0) return;
  launch(state, what, {dim3(state.blocks(count)), dim3(threads)}, block_kernel<F>, count, f);
}

// The sum of term(i), i < count, over the threads of a block.
template <class Term>
__device__ double block_sum(int64_t count, Term term) {
  double total = 0;
  for (int64_t i = BlockTeam::rank(); i < count; i += BlockTeam::size()) total += term(i);
  return BlockTeam::reduce(total, Sum(), 0.0);
}

struct CellSums {
  int64_t cells, cell_height, cell_width, width;
  const float* x;
  float* y;
  __device__ void run(int64_t cell) const {  // cells are row-major within a map, maps follow each other
    const float* corner = x + cell / cells * cell_height * width + cell % cells * cell_width;
    const double total = block_sum(cell_height * cell_width, [=, *this](int64_t i) {
      return static_cast<double>(positive_part_of(corner[i / cell_width * width + i % cell_width]));
    });
    if (BlockTeam::rank() == 0) y[cell] = static_cast<float>(total);
  }
};

struct MaskSums {
  int64_t pixels;
  const float *x, *mask;
  float* y;
  __device__ void run(int64_t map) const {
    const float *values = x + map * pixels, *inside = mask + map * pixels;
    double masked = 0, all = 0;
    for (int64_t i = BlockTeam::rank(); i < pixels; i += BlockTeam::size()) {
      const double positive = positive_part_of(values[i]);
      masked = fma(positive, static_cast<double>(inside[i]), masked);
      all += positive;
    }
    masked = BlockTeam::reduce(masked, Sum(), 0.0);
    all = BlockTeam::reduce(all, Sum(), 0.0);
    if (BlockTeam::rank() != 0) return;
    y[2 * map] = static_cast<float>(masked);
    y[2 * map + 1] = static_cast<float>(all);
  }
};

struct Entropy {
  int64_t pixels;
  const float* x;
  float* y;
  __device__ void run(int64_t map) const {
    constexpr float offset = 1e-10f;
    const float* values = x + map * pixels;
    const double total =
        block_sum(pixels, [=](int64_t i) { return static_cast<double>(positive_part_of(values[i])); }) + offset;
    const auto factor = static_cast<float>(1.0 / total);
    const double sum = block_sum(pixels, [=](int64_t i) {
      const float q = positive_part_of(values[i]) * factor;
      return static_cast<double>(q) * log2f(q + offset);
    });
    if (BlockTeam::rank() == 0) y[map] = static_cast<float>(0.0 - sum);  // so that a zero map gives 0 and not -0
  }
};

// The bits of numbers that are not negative have the numbers' order, NaN behind infinity; the map's index above them
// keeps the maps apart.
__global__ void gini_keys_kernel(int64_t pixels, int64_t count, const float* x, uint64_t* keys) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    const float value = 0.0f > x[i] ? 0.0f : x[i] + 0.0f;  // -0 becomes 0
    keys[i] = static_cast<uint64_t>(i / pixels) << 32 | __float_as_uint(value);
  }
}

struct Gini {
  int64_t pixels;
  float offset;
  const uint64_t* keys;
  float* y;
  __device__ double value(int64_t i) const { return __uint_as_float(static_cast<unsigned>(keys[i])); }
  __device__ void run(int64_t map) const {
    const int64_t first = map * pixels;
    const double largest = value(first + pixels - 1);
    double total = 0, weighted = 0;
    for (int64_t i = BlockTeam::rank(); i < pixels; i += BlockTeam::size()) {
      const double share = value(first + i) / largest + offset;
      total += share;
      weighted = fma(static_cast<double>(2 * (i + 1) - pixels - 1), share, weighted);
    }
    total = BlockTeam::reduce(total, Sum(), 0.0);
    weighted = BlockTeam::reduce(weighted, Sum(), 0.0);
    const double gini = weighted / (static_cast<double>(pixels) * total);
    if (BlockTeam::rank() == 0) y[map] = largest == 0 ? 0.0f : static_cast<float>(gini);
  }
};

int bits_for(int64_t count) {
  int bits = 0;
  while ((int64_t{1} << bits) < count) ++bits;
  return bits;
}

}  // namespace

void CudaKernels::box_smooth(Maps maps, int64_t size, const float* x, float* y) {
  const std::vector<float> weights(static_cast<size_t>(size), 1.0f / static_cast<float>(size));
  smooth(*state_, "box_smooth", maps, weights, Border::zero, x, y);
}

void CudaKernels::gauss_smooth(Maps maps, int64_t size, float sigma, const float* x, float* y) {
  std::vector<double> exact(static_cast<size_t>(size));
  double total = 0;
  for (int64_t k = 0; k < size; ++k) {
    const double distance = (static_cast<double>(k) - 0.5 * static_cast<double>(size - 1)) / sigma;
    total += exact[static_cast<size_t>(k)] = std::exp(-0.5 * distance * distance);
  }
  std::vector<float> weights;
  for (const double weight : exact) weights.push_back(static_cast<float>(weight / total));
  smooth(*state_, "gauss_smooth", maps, weights, Border::reflect, x, y);
}

void CudaKernels::cell_sums(Maps maps, int64_t cells, const float* x, float* y) {
  for_blocks(*state_, "cell_sums", maps.count * cells * cells,
             CellSums{cells, maps.height / cells, maps.width / cells, maps.width, x, y});
}

void CudaKernels::mask_sums(Maps maps, const float* x, const float* mask, float* y) {
  for_blocks(*state_, "mask_sums", maps.count, MaskSums{maps.pixels(), x, mask, y});
}

void CudaKernels::entropy(Maps maps, const float* x, float* y) {
  for_blocks(*state_, "entropy", maps.count, Entropy{maps.pixels(), x, y});
}

void CudaKernels::gini(Maps maps, float offset, const float* x, float* y) {
  constexpr int threads = 256;
  const int64_t count = maps.count * maps.pixels();
  if (count == 0) return;
  const size_t bytes = static_cast<size_t>(count) * sizeof(uint64_t);
  auto* keys = static_cast<uint64_t*>(state_->scratch(CudaState::Scratch::sort_keys, bytes));
  auto* sorted = static_cast<uint64_t*>(state_->scratch(CudaState::Scratch::sorted_keys, bytes));
  launch(*state_, "gini", {dim3(state_->blocks(divide_up(count, threads))), dim3(threads)}, gini_keys_kernel,
         maps.pixels(), count, x, keys);
  sort_keys(*state_, count, 32 + bits_for(maps.count), keys, sorted);
  for_blocks(*state_, "gini", maps.count, Gini{maps.pixels(), offset, sorted, y});
}

}  // namespace hp
