// map(): one kernel for everything that makes element i of its outputs from elements i of its inputs.
//
// Some inputs are shorter than the others and repeat (`i mod n` of runtime/kernels.h: one value for several targets,
// one number per channel). A thread takes a position of the period, reads these once, and walks over the repeats: no
// division, every access 128 bits wide where sizes and addresses allow.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace hp {

struct MapInput {
  const float* data = nullptr;
  float missing = 0;  // stands for every element where data is null
};

// Element i of the outputs comes from element i of `in` and element i mod period of `shared`, i < count.
template <int shared_count, int in_count, int out_count>
struct MapArrays {
  int64_t count = 0, period = 0;
  MapInput shared[std::max(shared_count, 1)] = {};
  MapInput in[std::max(in_count, 1)] = {};
  float* out[out_count] = {};
};

template <int width>
__device__ Pack<width> load_input(const MapInput& input, int64_t i) {
  if (input.data) return load<width>(input.data + i);
  Pack<width> same;
  for (int lane = 0; lane < width; ++lane) same.at[lane] = input.missing;
  return same;
}

// f(shared, in, out) sees one element of each; f.prepare(shared), if there is one, may change the shared values before.
template <int width, int shared_count, int in_count, int out_count, class F>
__global__ void map_kernel(MapArrays<shared_count, in_count, out_count> arrays, F f) {
  const int64_t positions = arrays.period / width, step_x = int64_t{gridDim.x} * blockDim.x;
  const int64_t step_y = int64_t{gridDim.y} * blockDim.y * arrays.period;
  for (int64_t x = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; x < positions; x += step_x) {
    float shared[width][shared_count > 0 ? shared_count : 1];
    for (int k = 0; k < shared_count; ++k) {
      const Pack<width> values = load_input<width>(arrays.shared[k], x * width);
      for (int lane = 0; lane < width; ++lane) shared[lane][k] = values.at[lane];
    }
    if constexpr (requires { f.prepare(shared[0]); }) {
      for (int lane = 0; lane < width; ++lane) f.prepare(shared[lane]);
    }
    const int64_t first = (int64_t{blockIdx.y} * blockDim.y + threadIdx.y) * arrays.period + x * width;
    for (int64_t i = first; i < arrays.count; i += step_y) {
      float in[width][in_count > 0 ? in_count : 1], out[width][out_count];
      for (int k = 0; k < in_count; ++k) {
        const Pack<width> values = load_input<width>(arrays.in[k], i);
        for (int lane = 0; lane < width; ++lane) in[lane][k] = values.at[lane];
      }
      for (int lane = 0; lane < width; ++lane) f(shared[lane], in[lane], out[lane]);
      for (int k = 0; k < out_count; ++k) {
        Pack<width> values;
        for (int lane = 0; lane < width; ++lane) values.at[lane] = out[lane][k];
        store<width>(values, arrays.out[k] + i);
      }
    }
  }
}

template <int width, int shared_count, int in_count, int out_count, class F>
void launch_map(const CudaState& state, const char* what, const MapArrays<shared_count, in_count, out_count>& arrays,
                const F& f) {
  const LaunchShape shape = plane_shape(state, arrays.period / width, divide_up(arrays.count, arrays.period));
  launch(state, what, shape, map_kernel<width, shared_count, in_count, out_count, F>, arrays, f);
}

template <int shared_count, int in_count, int out_count, class F>
void map(const CudaState& state, const char* what, MapArrays<shared_count, in_count, out_count> arrays, const F& f) {
  if (arrays.count == 0) return;
  if (shared_count == 0) arrays.period = arrays.count;
  bool aligned = true;
  for (const MapInput& input : arrays.shared) aligned = aligned && is_aligned(input.data);
  for (const MapInput& input : arrays.in) aligned = aligned && is_aligned(input.data);
  for (const float* output : arrays.out) aligned = aligned && is_aligned(output);
  if (aligned && arrays.period % 4 == 0 && arrays.count % 4 == 0) return launch_map<4>(state, what, arrays, f);
  if (!aligned || arrays.period < arrays.count || arrays.count < 4) return launch_map<1>(state, what, arrays, f);
  // No repeats: all but the last elements in packs.
  const int64_t main = arrays.count / 4 * 4, rest = arrays.count - main;
  arrays.count = arrays.period = main;
  launch_map<4>(state, what, arrays, f);
  for (MapInput& input : arrays.shared) input.data = input.data ? input.data + main : nullptr;
  for (MapInput& input : arrays.in) input.data = input.data ? input.data + main : nullptr;
  for (float*& output : arrays.out) output += main;
  arrays.count = arrays.period = rest;
  launch_map<1>(state, what, arrays, f);
}

}  // namespace hp
