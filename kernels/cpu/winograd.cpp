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

// With fewer tiles in an image the weights, four times as many as they were, cost a single image more than the products
// save: they come from memory.
constexpr int64_t fewest_tiles = 16;

// The maps of a convolution that it and its gradients run between.
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

const float* values_of(const Packed& packed, const std::string& format, const char* where) {
  const auto* weight = dynamic_cast<const WinogradWeight*>(&packed);
  require(weight && weight->format() == format,
          "[{}] a packed weight does not fit this shape; got another layout; expected '{}'", where, format);
  return weight->values();
}

int64_t tiles_of(const WinogradMap& map) { return map.tiles_y() * map.tiles_x(); }

// Between the points of transformed tiles: a line more than needed, so that they do not share a set of the cache.
int64_t stride_of(int64_t tiles, const WinogradMap& map) { return tiles * map.channels + 16; }

// The tiles of all images, cut into strips that keep all threads busy.
struct Strips {
  int64_t tiles = 0, at_once = 0, count = 0;

  Strips(int64_t batch, const WinogradMap& from, const WinogradMap& to, int threads) : tiles(batch * tiles_of(from)) {
    const int64_t per_tile = winograd_points * (from.channels + to.channels);
    const int64_t weights = winograd_points * from.channels * to.channels;
    const int64_t most = std::max(floats_at_once, weights / 2) / per_tile;
    const auto among_threads = [&](int64_t size) { return (tiles + size * threads - 1) / (size * threads) * threads; };
    count = among_threads(std::max(most, winograd_tiles));
    at_once = (tiles + count - 1) / count;
    // Of many tiles whole blocks cost less than an even share is worth.
    if (at_once > 4 * winograd_tiles) at_once = (at_once + winograd_tiles - 1) / winograd_tiles * winograd_tiles;
    count = (tiles + at_once - 1) / at_once;
  }
  int64_t stride(const WinogradMap& map) const { return stride_of(at_once, map); }
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

bool has_tiles(const Conv2d& c) {
  // Small and odd maps fill their tiles badly: no more than half may be wasted.
  const bool fits = 16 * tiles_of({c.height, c.width, c.channels}) <= 2 * c.height * c.width;
  return fits && c.kernel_height == 3 && c.kernel_width == 3 && c.stride == 1 && c.padding == 1 && c.dilation == 1 &&
         c.groups == 1 && c.channels % winograd_channels == 0 && c.filters % winograd_channels == 0;
}

}  // namespace

bool uses_winograd(const Conv2d& c, ConvUse use) {
  const bool smooth = c.smooth && use != ConvUse::weight_gradient && tiles_of({c.height, c.width}) >= fewest_tiles;
  return (smooth || (c.fast && use != ConvUse::forward)) && has_tiles(c);
}

std::string winograd_format(const Conv2d& c, PackUse use) {
  return fmt::format("winograd {}{}x{}", use == PackUse::forward ? "forward " : "", c.filters, c.channels);
}

std::unique_ptr<Packed> allocate_winograd(const Conv2d& c, PackUse use) {
  return std::make_unique<WinogradWeight>(winograd_format(c, use), Sides(c).weight_size());
}

// The adjoint is a convolution with the weight turned by half a turn, from filters to channels.
void Winograd::pack(const Conv2d& c, PackUse use, const float* w, Packed& packed) const {
  const auto& inner = loops_for<WinogradLoops>(isa);
  float* u = static_cast<WinogradWeight&>(packed).values();
  const bool turned = use == PackUse::input_gradient;
  const int64_t results = turned ? c.channels : c.filters, channels = turned ? c.filters : c.channels;
  const WinogradKernels kernels{
      .channel_step = turned ? 9 * c.channels : 9, .result_step = turned ? 9 : 9 * c.channels, .turned = turned};
  const int64_t grain = floats_per_thread / (winograd_points * winograd_channels * channels);
  parallel_for(state.threads(), results / winograd_channels, grain, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * winograd_channels, count = (end - begin) * winograd_channels;
    inner.transform_weight(kernels, first, count, results, channels, w, u);
  });
}

void Winograd::forward(const Conv2d& c, const Packed& packed, const WinogradAddends& addends, const float* x,
                       float* y) const {
  const Sides sides(c);
  run(c.batch, sides.x, sides.y, values_of(packed, winograd_format(c, PackUse::forward), "conv2d"), x, addends, y);
}

void Winograd::input_gradient(const Conv2d& c, const Packed& packed, const float* dy, float* dx) const {
  const Sides sides(c);
  const std::string format = winograd_format(c, PackUse::input_gradient);
  run(c.batch, sides.y, sides.x, values_of(packed, format, "conv2d_input_gradient"), dy, {}, dx);
}

void Winograd::run(int64_t batch, const WinogradMap& from, const WinogradMap& to, const float* u, const float* in,
                   const WinogradAddends& addends, float* out) const {
  const int64_t tiles = batch * tiles_of(from);
  const bool few = tiles * (from.channels + to.channels) < from.channels * to.channels;
  if (few && state.threads() > 1) return run_points(tiles, from, to, u, in, addends, out);
  run_strips(batch, from, to, u, in, addends, out);
}

// Every thread takes tiles from the beginning to the end, and reads all weights.
void Winograd::run_strips(int64_t batch, const WinogradMap& from, const WinogradMap& to, const float* u,
                          const float* in, const WinogradAddends& addends, float* out) const {
  const auto& inner = loops_for<WinogradLoops>(isa);
  const int threads = state.threads();
  const Strips strips(batch, from, to, threads);
  const int64_t v_size = strips.buffer(from), size = v_size + strips.buffer(to);
  const int64_t v_stride = strips.stride(from), m_stride = strips.stride(to);
  const int64_t blocks = winograd_points * inner.blocks(to.channels);
  float* buffers = floats(state, chunk_count(threads, strips.count, 1) * size);
  parallel_chunks(threads, strips.count, 1, [&](int chunk, int64_t begin, int64_t end) {
    float *v = buffers + chunk * size, *m = v + v_size;
    strips.each(begin, end, [&](int64_t first, int64_t tiles) {
      inner.transform_input(from, first, tiles, in, v_stride, v);
      inner.multiply(0, blocks, tiles, from.channels, to.channels, v_stride, v, u, m_stride, m);
      inner.transform_output(to, first, tiles, m_stride, m, addends, out);
    });
  });
}

// Where the weights are larger than all tiles: each thread reads its own part of them, for the tiles of all.
void Winograd::run_points(int64_t tiles, const WinogradMap& from, const WinogradMap& to, const float* u,
                          const float* in, const WinogradAddends& addends, float* out) const {
  const auto& inner = loops_for<WinogradLoops>(isa);
  const int threads = state.threads();
  const int64_t v_stride = stride_of(tiles, from), m_stride = stride_of(tiles, to);
  float *v = floats(state, winograd_points * (v_stride + m_stride)), *m = v + winograd_points * v_stride;
  const auto grain = [](const WinogradMap& map) { return floats_per_thread / (winograd_points * map.channels); };
  parallel_for(threads, tiles, grain(from), [&](int64_t begin, int64_t end) {
    inner.transform_input(from, begin, end - begin, in, v_stride, v + begin * from.channels);
  });
  parallel_for(threads, winograd_points * inner.blocks(to.channels), 1, [&](int64_t begin, int64_t end) {
    inner.multiply(begin, end, tiles, from.channels, to.channels, v_stride, v, u, m_stride, m);
  });
  parallel_for(threads, tiles, grain(to), [&](int64_t begin, int64_t end) {
    inner.transform_output(to, begin, end - begin, m_stride, m + begin * to.channels, addends, out);
  });
}

void Winograd::weight_gradient(const Conv2d& c, const float* x, const float* dy, float* dw) const {
  const auto& inner = loops_for<WinogradLoops>(isa);
  const int threads = state.threads();
  const Sides sides(c);
  const Strips strips(c.batch, sides.x, sides.y, threads);
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
