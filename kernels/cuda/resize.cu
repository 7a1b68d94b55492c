// Bilinear resizing and its adjoint, both as sums that a thread gathers.
#include "kernels/cuda/pixels.cuh"

namespace hp {

namespace {

// The two inputs that an output lies between, on one axis, and their shares. Half-pixel centres: output o lies at
// (o + 1/2) size / out_size - 1/2 among the inputs; positions beyond the outermost centres take the outermost input.
struct Taps {
  int first, second;
  float first_share, second_share;
};

__device__ Taps taps_of(int out, int size, int out_size) {
  const double position = (out + 0.5) * size / out_size, inside = position > 0.5 ? position - 0.5 : 0.0;
  const int below = static_cast<int>(inside), first = below < size - 1 ? below : size - 1;
  const double share = inside - first;
  return {first, first < size - 1 ? first + 1 : first, static_cast<float>(1.0 - share), static_cast<float>(share)};
}

// How much of input `in` an output with these taps takes.
__device__ float share_of(const Taps& taps, int in) {
  return (taps.first == in ? taps.first_share : 0.0f) + (taps.second == in ? taps.second_share : 0.0f);
}

struct Span {
  int begin, end;
};

// The outputs that can read input `in`: they lie between the centres of its neighbours, and the outermost inputs also
// serve those beyond. One more on either side guards against rounding; the taps decide.
__device__ Span readers_of(int in, int size, int out_size) {
  const int64_t before = (int64_t{in} - 1) * out_size / size - 1, after = (int64_t{in} + 2) * out_size / size + 2;
  return {in == 0 || before < 0 ? 0 : static_cast<int>(before),
          in == size - 1 || after > out_size ? out_size : static_cast<int>(after)};
}

struct Sizes {
  int height, width, out_height, out_width;
  int64_t channels;

  explicit Sizes(const Resize2d& r)
      : height(static_cast<int>(r.height)),
        width(static_cast<int>(r.width)),
        out_height(static_cast<int>(r.out_height)),
        out_width(static_cast<int>(r.out_width)),
        channels(r.channels) {}
};

struct ResizeBilinear {
  Sizes sizes;
  const float* x;
  float* y;

  struct Place {
    unsigned image;
    Taps rows, columns;
  };
  __device__ Place place(unsigned pixel) const {
    const PixelPlace at =
        place_of(pixel, static_cast<unsigned>(sizes.out_height), static_cast<unsigned>(sizes.out_width));
    return {at.image, taps_of(static_cast<int>(at.row), sizes.height, sizes.out_height),
            taps_of(static_cast<int>(at.column), sizes.width, sizes.out_width)};
  }

  template <int width>
  __device__ void run(const Place& at, int64_t element, int64_t channel) const {
    const float* image = x + int64_t{at.image} * sizes.height * sizes.width * sizes.channels + channel;
    const auto pixel = [&](int row, int column) {
      return load<width>(image + (int64_t{row} * sizes.width + column) * sizes.channels);
    };
    const Pack<width> a = pixel(at.rows.first, at.columns.first), b = pixel(at.rows.first, at.columns.second);
    const Pack<width> c = pixel(at.rows.second, at.columns.first), d = pixel(at.rows.second, at.columns.second);
    Pack<width> out;
    for (int k = 0; k < width; ++k) {
      const float above = fmaf(at.columns.first_share, a.at[k], at.columns.second_share * b.at[k]);
      const float below = fmaf(at.columns.first_share, c.at[k], at.columns.second_share * d.at[k]);
      out.at[k] = fmaf(at.rows.first_share, above, at.rows.second_share * below);
    }
    store<width>(out, y + element);
  }
};

struct ResizeBilinearVjp {
  Sizes sizes;
  const float* dy;
  float* dx;

  __device__ PixelPlace place(unsigned pixel) const {
    return place_of(pixel, static_cast<unsigned>(sizes.height), static_cast<unsigned>(sizes.width));
  }

  template <int width>
  __device__ void run(PixelPlace at, int64_t element, int64_t channel) const {
    const int row = static_cast<int>(at.row), column = static_cast<int>(at.column);
    const Span rows = readers_of(row, sizes.height, sizes.out_height);
    const Span columns = readers_of(column, sizes.width, sizes.out_width);
    const float* message = dy + int64_t{at.image} * sizes.out_height * sizes.out_width * sizes.channels + channel;
    Pack<width> sum = {};
    for (int out_x = columns.begin; out_x < columns.end; ++out_x) {
      const float across = share_of(taps_of(out_x, sizes.width, sizes.out_width), column);
      if (across == 0.0f) continue;
      for (int out_y = rows.begin; out_y < rows.end; ++out_y) {
        const float share = across * share_of(taps_of(out_y, sizes.height, sizes.out_height), row);
        if (share == 0.0f) continue;
        const Pack<width> values = load<width>(message + (int64_t{out_y} * sizes.out_width + out_x) * sizes.channels);
        for (int k = 0; k < width; ++k) sum.at[k] = fmaf(share, values.at[k], sum.at[k]);
      }
    }
    store<width>(sum, dx + element);
  }
};

}  // namespace

void CudaKernels::resize_bilinear(const Resize2d& r, const float* x, float* y) {
  for_pixels(*state_, "resize_bilinear", r.batch * r.out_height * r.out_width, r.channels,
             is_aligned(x) && is_aligned(y), ResizeBilinear{Sizes(r), x, y});
}

void CudaKernels::resize_bilinear_vjp(const Resize2d& r, const float* dy, float* dx) {
  for_pixels(*state_, "resize_bilinear_vjp", r.batch * r.height * r.width, r.channels, is_aligned(dy) && is_aligned(dx),
             ResizeBilinearVjp{Sizes(r), dy, dx});
}

}  // namespace hp
