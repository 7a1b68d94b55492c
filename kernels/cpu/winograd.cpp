#include "kernels/cpu/winograd.h"

#include <algorithm>

#include "kernels/cpu/loops_winograd.h"
#include "kernels/cpu/parallel.h"
#include "runtime/error.h"

namespace hp {

namespace {

// What a strip of tiles takes up in the second-level cache, unless the weights are larger: then a strip reads or adds
// to all of them, and must be worth it.
constexpr int64_t floats_at_once = 1 << 17;

// The maps of a convolution that its gradients run between.
struct Sides {
  WinogradMap x, y;
  explicit Sides(const Conv2d& c) : x{c.height, c.width, c.channels}, y{c.height, c.width, c.filters} {}
  int64_t weight_size() const { return winograd_points * x.channels * y.channels; }
};

class WinogradWeight final : public Packed {
 public:
  WinogradWeight(std::string format, int64_t floats)
      : format_(std::move(format)), storage_(allocate_host(sizeof(float) * floats)) {}
  const std::string& format() const { return format_; }
  float* values() const { return reinterpret_cast<float*>(storage_.data()); }

 private:
  std::string format_;
  Storage storage_;
};

// The tiles of all images, cut into strips that keep all threads busy.
struct Strips {
  int64_t tiles = 0, at_once = 0, count = 0;

  Strips(int64_t batch, const Sides& sides, int threads) {
    tiles = batch * sides.x.tiles_y() * sides.x.tiles_x();
    const int64_t per_tile = winograd_points * (sides.x.channels + sides.y.channels);
    const int64_t most = std::max(floats_at_once, sides.weight_size() / 2) / per_tile;
    const auto among_threads = [&](int64_t size) { return (tiles + size * threads - 1) / (size * threads) * threads; };
    count = among_threads(std::max(most, winograd_tiles));
    at_once = rounded((tiles + count - 1) / count);
    count = (tiles + at_once - 1) / at_once;
  }
  static int64_t rounded(int64_t tiles) { return (tiles + winograd_tiles - 1) / winograd_tiles * winograd_tiles; }
  // Between the points of a strip's tiles: a line more than needed, so that they do not share a set of the cache.
  int64_t stride(const WinogradMap& map) const { return at_once * map.channels + 16; }
  int64_t buffer(const WinogradMap& map) const { return winograd_points * stride(map); }

  // f(first, tiles) for strips [begin, end)
  template <class F>
  void each(int64_t begin, int64_t end, F f) const {
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t first = strip * at_once;
      f(first, std::min(at_once, tiles - first));
    }
  }
};

float* floats(DnnlState& state, int64_t count) {
  return static_cast<float*>(state.scratch(DnnlState::Scratch::winograd, sizeof(float) * count));
}

}  // namespace

bool uses_winograd(const Conv2d& c) {
  const WinogradMap map{c.height, c.width, c.channels};
  // Small and odd maps fill their tiles badly: no more than half may be wasted.
  const bool fits = 16 * map.tiles_y() * map.tiles_x() <= 2 * c.height * c.width;
  return c.fast && fits && c.kernel_height == 3 && c.kernel_width == 3 && c.stride == 1 && c.padding == 1 &&
         c.dilation == 1 && c.groups == 1 && c.channels % winograd_channels == 0 && c.filters % winograd_channels == 0;
}

std::string winograd_format(const Conv2d& c) { return fmt::format("winograd {}x{}", c.filters, c.channels); }

std::unique_ptr<Packed> allocate_winograd(const Conv2d& c) {
  return std::make_unique<WinogradWeight>(winograd_format(c), Sides(c).weight_size());
}

// The adjoint is a convolution with the weight turned by half a turn, from filters to channels.
void Winograd::pack(const Conv2d& c, const float* w, Packed& packed) const {
  const auto& inner = loops_for<WinogradLoops>(isa);
  float* u = static_cast<WinogradWeight&>(packed).values();
  const int64_t groups = c.channels / winograd_channels;
  const int64_t grain = floats_per_thread / (winograd_points * winograd_channels * c.filters);
  parallel_for(state.threads(), groups, grain, [&](int64_t begin, int64_t end) {
    inner.transform_weight(begin * winograd_channels, (end - begin) * winograd_channels, c.channels, c.filters, w, u);
  });
}

void Winograd::input_gradient(const Conv2d& c, const Packed& packed, const float* dy, float* dx) const {
  const auto* weight = dynamic_cast<const WinogradWeight*>(&packed);
  require(weight && weight->format() == winograd_format(c),
          "[conv2d_input_gradient] a packed weight does not fit this shape; got another layout; expected '{}'",
          winograd_format(c));
  const auto& inner = loops_for<WinogradLoops>(isa);
  const int threads = state.threads();
  const Sides sides(c);
  const Strips strips(c.batch, sides, threads);
  const int64_t v_size = strips.buffer(sides.y), size = v_size + strips.buffer(sides.x);
  const int64_t v_stride = strips.stride(sides.y), m_stride = strips.stride(sides.x);
  float* buffers = floats(state, chunk_count(threads, strips.count, 1) * size);
  parallel_chunks(threads, strips.count, 1, [&](int chunk, int64_t begin, int64_t end) {
    float *v = buffers + chunk * size, *m = v + v_size;
    strips.each(begin, end, [&](int64_t first, int64_t tiles) {
      inner.transform_input(sides.y, first, tiles, dy, v_stride, v);
      inner.multiply(Strips::rounded(tiles), c.filters, c.channels, v_stride, v, weight->values(), m_stride, m);
      inner.transform_output(sides.x, first, tiles, m_stride, m, dx);
    });
  });
}

void Winograd::weight_gradient(const Conv2d& c, const float* x, const float* dy, float* dw) const {
  const auto& inner = loops_for<WinogradLoops>(isa);
  const int threads = state.threads();
  const Sides sides(c);
  const Strips strips(c.batch, sides, threads);
  const int64_t v_size = strips.buffer(sides.x), size = v_size + strips.buffer(sides.y);
  const int64_t v_stride = strips.stride(sides.x), d_stride = strips.stride(sides.y);
  const int chunks = chunk_count(threads, strips.count, 1);
  float* sums = floats(state, chunks * (sides.weight_size() + size));
  float* buffers = sums + chunks * sides.weight_size();
  parallel_chunks(threads, strips.count, 1, [&](int chunk, int64_t begin, int64_t end) {
    float *g = sums + chunk * sides.weight_size(), *v = buffers + chunk * size, *d = v + v_size;
    std::fill_n(g, sides.weight_size(), 0.0F);
    strips.each(begin, end, [&](int64_t first, int64_t tiles) {
      inner.transform_input(sides.x, first, tiles, x, v_stride, v);
      inner.transform_gradient(sides.y, first, tiles, dy, d_stride, d);
      inner.accumulate(tiles, c.channels, c.filters, v_stride, v, d_stride, d, g);
    });
  });
  const int64_t grain = floats_per_thread / (winograd_points * c.filters);
  parallel_for(threads, c.channels, grain, [&](int64_t begin, int64_t end) {
    inner.transform_weight_gradient(begin, end - begin, c.channels, c.filters, chunks, sums, dw);
  });
}

}  // namespace hp
