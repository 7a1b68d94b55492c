// Pooling: every output, and every input of the adjoints, is one thread's sum in a fixed order.
#include "kernels/cuda/pixels.cuh"

namespace hp {

namespace {

// Pool2d in the numbers that a thread computes with.
struct Windows {
  int height, width, out_height, out_width, window_height, window_width, stride, padding;
  int64_t channels;

  explicit Windows(const Pool2d& pool)
      : height(static_cast<int>(pool.height)),
        width(static_cast<int>(pool.width)),
        out_height(static_cast<int>(pool.out_height())),
        out_width(static_cast<int>(pool.out_width())),
        window_height(static_cast<int>(pool.window_height)),
        window_width(static_cast<int>(pool.window_width)),
        stride(static_cast<int>(pool.stride)),
        padding(static_cast<int>(pool.padding)),
        channels(pool.channels) {}
};

struct Span {
  int begin, end;
};

// The inputs within the window of output `out`, on one axis.
__device__ Span inputs_of(int out, int size, int window, int stride, int padding) {
  const int first = out * stride - padding, end = first + window;
  return {first > 0 ? first : 0, end < size ? end : size};
}

// The outputs whose window contains input `in`, on one axis.
__device__ Span outputs_of(int in, int out_size, int window, int stride, int padding) {
  const int end = (in + padding) / stride + 1, before = in + padding - window;
  return {before < 0 ? 0 : before / stride + 1, end < out_size ? end : out_size};
}

// visit(position in the window, pixel of one image) for the inputs of an output.
template <class Visit>
__device__ void for_inputs(const Windows& w, PixelPlace out, Visit visit) {
  const Span rows = inputs_of(static_cast<int>(out.row), w.height, w.window_height, w.stride, w.padding);
  const Span columns = inputs_of(static_cast<int>(out.column), w.width, w.window_width, w.stride, w.padding);
  const int top = static_cast<int>(out.row) * w.stride - w.padding;
  const int left = static_cast<int>(out.column) * w.stride - w.padding;
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      visit((row - top) * w.window_width + column - left, int64_t{row} * w.width + column);
    }
  }
}

// visit(position in the window, pixel of one image) for the outputs that read an input.
template <class Visit>
__device__ void for_outputs(const Windows& w, PixelPlace in, Visit visit) {
  const int in_row = static_cast<int>(in.row), in_column = static_cast<int>(in.column);
  const Span rows = outputs_of(in_row, w.out_height, w.window_height, w.stride, w.padding);
  const Span columns = outputs_of(in_column, w.out_width, w.window_width, w.stride, w.padding);
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      const int position =
          (in_row + w.padding - row * w.stride) * w.window_width + in_column + w.padding - column * w.stride;
      visit(position, int64_t{row} * w.out_width + column);
    }
  }
}

struct OutputPixel {
  Windows windows;
  __device__ PixelPlace place(unsigned pixel) const {
    return place_of(pixel, static_cast<unsigned>(windows.out_height), static_cast<unsigned>(windows.out_width));
  }
  __device__ const float* input(const float* x, PixelPlace at, int64_t channel) const {
    return x + int64_t{at.image} * windows.height * windows.width * windows.channels + channel;
  }
};

struct InputPixel {
  Windows windows;
  __device__ PixelPlace place(unsigned pixel) const {
    return place_of(pixel, static_cast<unsigned>(windows.height), static_cast<unsigned>(windows.width));
  }
  template <class T>
  __device__ const T* output(const T* y, unsigned image, int64_t channel) const {
    return y + int64_t{image} * windows.out_height * windows.out_width * windows.channels + channel;
  }
};

struct MaxPool : OutputPixel {
  const float* x;
  float* y;
  int32_t* argmax;

  template <int width>
  __device__ void run(PixelPlace at, int64_t element, int64_t channel) const {
    const float* from = input(x, at, channel);
    Pack<width> best = {};
    int32_t winner[width] = {};
    bool first = true;  // a window of -infinities alone keeps its first element
    for_inputs(windows, at, [&](int position, int64_t pixel) {
      const Pack<width> values = load<width>(from + pixel * windows.channels);
      for (int k = 0; k < width; ++k) {
        const float value = values.at[k];
        const bool wins = first || value > best.at[k] || (value != value && best.at[k] == best.at[k]);
        best.at[k] = wins ? value : best.at[k];
        winner[k] = wins ? position : winner[k];
      }
      first = false;
    });
    store<width>(best, y + element);
    for (int k = 0; k < width; ++k) argmax[element + k] = winner[k];
  }
};

struct MaxPoolVjp : InputPixel {
  unsigned batch;
  const int32_t* argmax;
  const float* dy;
  float* dx;

  template <int width>
  __device__ void run(PixelPlace at, int64_t element, int64_t channel) const {
    const float* message = output(dy, at.image, channel);
    const int32_t* winners = output(argmax, at.image % batch, channel);
    Pack<width> sum = {};
    for_outputs(windows, at, [&](int position, int64_t pixel) {
      const Pack<width> values = load<width>(message + pixel * windows.channels);
      for (int k = 0; k < width; ++k) {
        if (winners[pixel * windows.channels + k] == position) sum.at[k] += values.at[k];
      }
    });
    store<width>(sum, dx + element);
  }
};

struct AvgPool : OutputPixel {
  const float* x;
  float* y;

  template <int width>
  __device__ void run(PixelPlace at, int64_t element, int64_t channel) const {
    const float* from = input(x, at, channel);
    const auto area = static_cast<float>(windows.window_height * windows.window_width);
    Pack<width> sum = {};
    for_inputs(windows, at, [&](int, int64_t pixel) {
      const Pack<width> values = load<width>(from + pixel * windows.channels);
      for (int k = 0; k < width; ++k) sum.at[k] += values.at[k];
    });
    for (int k = 0; k < width; ++k) sum.at[k] /= area;
    store<width>(sum, y + element);
  }
};

struct AvgPoolVjp : InputPixel {
  const float* dy;
  float* dx;

  template <int width>
  __device__ void run(PixelPlace at, int64_t element, int64_t channel) const {
    const float* message = output(dy, at.image, channel);
    const float share = 1.0f / static_cast<float>(windows.window_height * windows.window_width);
    Pack<width> sum = {};
    for_outputs(windows, at, [&](int, int64_t pixel) {
      const Pack<width> values = load<width>(message + pixel * windows.channels);
      for (int k = 0; k < width; ++k) sum.at[k] = fmaf(share, values.at[k], sum.at[k]);
    });
    store<width>(sum, dx + element);
  }
};

int64_t in_pixels(const Pool2d& pool) { return pool.batch * pool.height * pool.width; }
int64_t out_pixels(const Pool2d& pool) { return pool.batch * pool.out_height() * pool.out_width(); }

}  // namespace

void CudaKernels::max_pool(const Pool2d& pool, const float* x, float* y, int32_t* argmax) {
  for_pixels(*state_, "max_pool", out_pixels(pool), pool.channels, is_aligned(x) && is_aligned(y),
             MaxPool{{Windows(pool)}, x, y, argmax});
}

void CudaKernels::max_pool_vjp(const Pool2d& pool, int targets, const int32_t* argmax, const float* dy, float* dx) {
  for_pixels(*state_, "max_pool_vjp", targets * in_pixels(pool), pool.channels, is_aligned(dy) && is_aligned(dx),
             MaxPoolVjp{{Windows(pool)}, static_cast<unsigned>(pool.batch), argmax, dy, dx});
}

void CudaKernels::avg_pool(const Pool2d& pool, const float* x, float* y) {
  for_pixels(*state_, "avg_pool", out_pixels(pool), pool.channels, is_aligned(x) && is_aligned(y),
             AvgPool{{Windows(pool)}, x, y});
}

void CudaKernels::avg_pool_vjp(const Pool2d& pool, const float* dy, float* dx) {
  for_pixels(*state_, "avg_pool_vjp", in_pixels(pool), pool.channels, is_aligned(dy) && is_aligned(dx),
             AvgPoolVjp{{Windows(pool)}, dy, dx});
}

}  // namespace hp
