// for_pixels(): one thread per pixel of a feature map and pack of its channels, for pooling and resizing.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "runtime/kernels.h"

namespace hp {

template <int width, class F>
__global__ void pixel_kernel(int64_t pixels, int64_t channels, F f) {
  const int64_t step_x = int64_t{gridDim.x} * blockDim.x, step_y = int64_t{gridDim.y} * blockDim.y;
  for (int64_t pixel = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; pixel < pixels; pixel += step_y) {
    const auto place = f.place(static_cast<unsigned>(pixel));
    for (int64_t c = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width; c < channels; c += step_x * width) {
      f.template run<width>(place, pixel * channels + c, c);
    }
  }
}

// f.run<width>(f.place(pixel), element, channel) for every pixel of [images, height, width] and its channels, 4 of them
// at a time where `wide`.
template <class F>
void for_pixels(const CudaState& state, const char* what, int64_t pixels, int64_t channels, bool wide, const F& f) {
  if (pixels == 0 || channels == 0) return;
  const bool packs = wide && channels % 4 == 0;
  const LaunchShape shape = plane_shape(state, packs ? channels / 4 : channels, pixels);
  launch(state, what, shape, packs ? pixel_kernel<4, F> : pixel_kernel<1, F>, pixels, channels, f);
}

// Where a pixel lies; 32 bits, because divisions by 64-bit numbers are slow. (2^32 pixels fill no device.)
struct PixelPlace {
  unsigned image, row, column;
};

__device__ inline PixelPlace place_of(unsigned pixel, unsigned height, unsigned width) {
  return {pixel / width / height, pixel / width % height, pixel % width};
}

}  // namespace hp
