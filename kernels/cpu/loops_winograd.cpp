#include "kernels/cpu/loops_winograd.h"

#include "kernels/cpu/vector_product.h"

namespace hp {

namespace {

// The points +-a and +-b, and the numbers that the three matrices are made of.
constexpr float a = 0.625F, b = 1.5F, a2 = a * a, b2 = b * b, a3 = a2 * a, b3 = b2 * b;
constexpr float at_zero = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));

// One dimension of B^T x B, six values to six.
inline void input_line(const Vector x[6], Vector v[6]) {
  const Vector even_a = x[4] - b2 * x[2], odd_a = a * (x[3] - b2 * x[1]);
  const Vector even_b = x[4] - a2 * x[2], odd_b = b * (x[3] - a2 * x[1]);
  v[0] = (a2 * b2) * x[0] - (a2 + b2) * x[2] + x[4];
  v[1] = even_a + odd_a, v[2] = even_a - odd_a;
  v[3] = even_b + odd_b, v[4] = even_b - odd_b;
  v[5] = (a2 * b2) * x[1] - (a2 + b2) * x[3] + x[5];
}

// One dimension of A^T m A, six values to four.
inline void output_line(const Vector m[6], Vector y[4]) {
  const Vector sum_a = m[1] + m[2], difference_a = m[1] - m[2];
  const Vector sum_b = m[3] + m[4], difference_b = m[3] - m[4];
  y[0] = m[0] + sum_a + sum_b;
  y[1] = a * difference_a + b * difference_b;
  y[2] = a2 * sum_a + b2 * sum_b;
  y[3] = a3 * difference_a + b3 * difference_b + m[5];
}

// One dimension of A dy A^T, four values to six.
inline void gradient_line(const Vector y[4], Vector v[6]) {
  const Vector even_a = y[0] + a2 * y[2], odd_a = a * y[1] + a3 * y[3];
  const Vector even_b = y[0] + b2 * y[2], odd_b = b * y[1] + b3 * y[3];
  v[0] = y[0];
  v[1] = even_a + odd_a, v[2] = even_a - odd_a;
  v[3] = even_b + odd_b, v[4] = even_b - odd_b;
  v[5] = y[3];
}

// One dimension of G w G^T, three values to six.
inline void weight_line(const Vector w[3], Vector u[6]) {
  const Vector even_a = at_a * w[0] + (at_a * a2) * w[2], odd_a = (at_a * a) * w[1];
  const Vector even_b = at_b * w[0] + (at_b * b2) * w[2], odd_b = (at_b * b) * w[1];
  u[0] = at_zero * w[0];
  u[1] = even_a + odd_a, u[2] = even_a - odd_a;
  u[3] = even_b + odd_b, u[4] = even_b - odd_b;
  u[5] = w[2];
}

// One dimension of G^T g G, six values to three.
inline void weight_gradient_line(const Vector g[6], Vector w[3]) {
  const Vector sum_a = at_a * (g[1] + g[2]), sum_b = at_b * (g[3] + g[4]);
  w[0] = at_zero * g[0] + sum_a + sum_b;
  w[1] = (at_a * a) * (g[1] - g[2]) + (at_b * b) * (g[3] - g[4]);
  w[2] = a2 * sum_a + b2 * sum_b + g[5];
}

// Both dimensions, the columns first: takes from(i, j) and gives to(i, j, value).
template <int from_size, int to_size, class From, class Line, class To>
inline void both_ways(From from, Line line, To to) {
  Vector half[to_size][from_size];
#pragma GCC unroll 6
  for (int j = 0; j < from_size; ++j) {
    Vector column[from_size], result[to_size];
#pragma GCC unroll 6
    for (int i = 0; i < from_size; ++i) column[i] = from(i, j);
    line(column, result);
#pragma GCC unroll 6
    for (int i = 0; i < to_size; ++i) half[i][j] = result[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < to_size; ++i) {
    Vector result[to_size];
    line(half[i], result);
#pragma GCC unroll 6
    for (int j = 0; j < to_size; ++j) to(i, j, result[j]);
  }
}

// Where a tile lies.
struct Tile {
  int64_t image = 0, y = 0, x = 0;
};

// f(tile, number from 0) for `count` tiles from `first` on.
template <class F>
inline void for_tiles(const WinogradMap& map, int64_t first, int64_t count, F f) {
  const int64_t across = map.tiles_x(), down = map.tiles_y();
  Tile tile{first / (across * down), first / across % down, first % across};
  for (int64_t i = 0; i < count; ++i) {
    f(tile, i);
    if (++tile.x < across) continue;
    tile.x = 0;
    if (++tile.y < down) continue;
    tile.y = 0;
    ++tile.image;
  }
}

enum Use { to_read, to_write };

// A tile's 4x4 positions. Each tile asks for what the one below will need first, a row of tiles ahead: more streams
// than the processor follows by itself.
template <Use use>
inline void prefetch_tile(const WinogradMap& map, const float* first) {
#pragma GCC unroll 4
  for (int64_t y = 0; y < 4; ++y) {
#pragma GCC unroll 4
    for (int64_t x = 0; x < 4; ++x) __builtin_prefetch(first + (y * map.width + x) * map.channels, use);
  }
}

// The size x size vectors at (top, left), row and column apart, zero outside of the map.
template <int size>
void copy_window(const WinogradMap& map, const float* corner, int64_t top, int64_t left, float* window) {
  for (int64_t y = top; y < top + size; ++y) {
    for (int64_t x = left; x < left + size; ++x, window += lanes) {
      const bool inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
      store(window, inside ? load(corner + ((y - top) * map.width + x - left) * map.channels) : Vector{});
    }
  }
}

// Transforms the size x size positions from (top, left) on, channel vector by channel vector.
template <int size, class Line>
inline void transform_window(const WinogradMap& map, const float* image, int64_t top, int64_t left, int64_t stride,
                             float* v, Line line) {
  const bool inside = top >= 0 && left >= 0 && top + size <= map.height && left + size <= map.width;
  const int64_t row = inside ? map.width * map.channels : size * lanes, column = inside ? map.channels : lanes;
  for (int64_t channel = 0; channel < map.channels; channel += lanes) {
    const float* corner = image + (top * map.width + left) * map.channels + channel;
    prefetch_tile<to_read>(map, corner + (size * map.width + size / 2 - 2) * map.channels);
    alignas(64) float window[size * size * lanes];
    if (!inside) {
      copy_window<size>(map, corner, top, left, window);
      corner = window;
    }
    both_ways<size, 6>([=](int i, int j) { return load(corner + i * row + j * column); }, line,
                       [=](int i, int j, Vector value) { store(v + (6 * i + j) * stride + channel, value); });
  }
}

void transform_input(const WinogradMap& map, int64_t first, int64_t count, const float* x, int64_t stride, float* v) {
  const int64_t size = map.height * map.width * map.channels;
  for_tiles(map, first, count, [&](const Tile& tile, int64_t i) {
    transform_window<6>(map, x + tile.image * size, 4 * tile.y - 1, 4 * tile.x - 1, stride, v + i * map.channels,
                        input_line);
  });
}

void transform_gradient(const WinogradMap& map, int64_t first, int64_t count, const float* dy, int64_t stride,
                        float* v) {
  const int64_t size = map.height * map.width * map.channels;
  for_tiles(map, first, count, [&](const Tile& tile, int64_t i) {
    transform_window<4>(map, dy + tile.image * size, 4 * tile.y, 4 * tile.x, stride, v + i * map.channels,
                        gradient_line);
  });
}

void transform_output(const WinogradMap& map, int64_t first, int64_t count, int64_t stride, const float* m,
                      const WinogradAddends& addends, float* y) {
  const int64_t row = map.width * map.channels;
  for_tiles(map, first, count, [&](const Tile& tile, int64_t number) {
    const int64_t corner = (tile.image * map.height + 4 * tile.y) * row + 4 * tile.x * map.channels;
    const int64_t rows = map.height - 4 * tile.y, columns = map.width - 4 * tile.x;
    for (int64_t channel = 0; channel < map.channels; channel += lanes) {
      const float* from = m + number * map.channels + channel;
      prefetch_tile<to_write>(map, y + corner + 4 * row + channel);
      both_ways<6, 4>([=](int i, int j) { return load(from + (6 * i + j) * stride); }, output_line,
                      [&](int i, int j, Vector value) {
                        if (i >= rows || j >= columns) return;
                        const int64_t at = corner + i * row + j * map.channels + channel;
                        if (addends.bias) value += load(addends.bias + channel);
                        if (addends.addend) value += load(addends.addend + at);
                        store(y + at, value);
                      });
    }
  });
}

// Results of a block: as wide as the products' inner loop.
inline int64_t block_size(int64_t results) { return results % (2 * lanes) == 0 ? 2 * lanes : lanes; }

int64_t blocks(int64_t results) { return results / block_size(results); }

void transform_weight(const WinogradKernels& kernels, int64_t first, int64_t count, int64_t results, int64_t channels,
                      const float* w, float* u) {
  const int64_t block = block_size(results);
  for (int64_t result = first; result < first + count; result += lanes) {
    float* own = u + result / block * block * channels + result % block;
    for (int64_t channel = 0; channel < channels; ++channel) {
      const float* kernel = w + channel * kernels.channel_step + result * kernels.result_step;
      const auto tap = [&](int ky, int kx) {
        const int at = kernels.turned ? 8 - 3 * ky - kx : 3 * ky + kx;
        Vector value;
        for (int64_t i = 0; i < lanes; ++i) value[i] = kernel[i * kernels.result_step + at];
        return value;
      };
      both_ways<3, 6>(tap, weight_line, [=](int i, int j, Vector value) {
        store(own + (6 * i + j) * results * channels + channel * block, value);
      });
    }
  }
}

void transform_weight_gradient(int64_t first, int64_t count, int64_t channels, int64_t filters, int parts,
                               const float* g, float* dw) {
  const int64_t part_size = winograd_points * channels * filters;
  for (int64_t channel = first; channel < first + count; ++channel) {
    for (int64_t filter = 0; filter < filters; filter += lanes) {
      const auto sum = [=](int i, int j) {
        const float* from = g + ((6 * i + j) * channels + channel) * filters + filter;
        Vector value = load(from);
        for (int part = 1; part < parts; ++part) value += load(from + part * part_size);
        return value;
      };
      both_ways<6, 3>(sum, weight_gradient_line, [=](int ky, int kx, Vector value) {
        float* to = dw + (filter * channels + channel) * 9 + 3 * ky + kx;
        for (int64_t i = 0; i < lanes; ++i) to[i * channels * 9] = value[i];
      });
    }
  }
}

// One block of one point: as many tiles at a time as there are registers for, then half as many.
template <int rows, int vectors>
inline void multiply_block(int64_t tiles, int64_t channels, const float* v, const float* u, int64_t results, float* m) {
  int64_t tile = 0;
  if (tiles >= rows) {
    multiply_rows<rows, vectors, false, true>(channels, {v, channels, 1}, {u, vectors * lanes}, m, results);
    tile = rows;
  }
  for (; tile + rows <= tiles; tile += rows) {
    multiply_rows<rows, vectors, false>(channels, {v + tile * channels, channels, 1}, {u, vectors * lanes},
                                        m + tile * results, results);
  }
  if constexpr (rows > 1) {
    if (tile < tiles)
      multiply_block<rows / 2, vectors>(tiles - tile, channels, v + tile * channels, u, results, m + tile * results);
  }
}

template <int rows, int vectors>
void multiply_by(int64_t begin, int64_t end, int64_t tiles, int64_t channels, int64_t results, int64_t v_stride,
                 const float* v, const float* u, int64_t m_stride, float* m) {
  constexpr int64_t size = vectors * lanes;
  const int64_t per_point = results / size;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t point = block / per_point, result = block % per_point * size;
    multiply_block<rows, vectors>(tiles, channels, v + point * v_stride, u + block * channels * size, results,
                                  m + point * m_stride + result);
  }
}

void multiply(int64_t begin, int64_t end, int64_t tiles, int64_t channels, int64_t results, int64_t v_stride,
              const float* v, const float* u, int64_t m_stride, float* m) {
  const auto loop = block_size(results) == lanes ? multiply_by<rows_of_one, 1> : multiply_by<rows_of_two, 2>;
  loop(begin, end, tiles, channels, results, v_stride, v, u, m_stride, m);
}

template <int rows, int vectors>
void accumulate_by(int64_t tiles, int64_t channels, int64_t filters, int64_t v_stride, const float* v, int64_t d_stride,
                   const float* d, float* g) {
  for (int64_t point = 0; point < winograd_points; ++point, v += v_stride, d += d_stride, g += channels * filters) {
    for (int64_t filter = 0; filter < filters; filter += vectors * lanes) {
      for (int64_t channel = 0; channel < channels; channel += rows) {
        multiply_rows<rows, vectors, true>(tiles, {v + channel, 1, channels}, {d + filter, filters},
                                           g + channel * filters + filter, filters);
      }
    }
  }
}

// Rows that divide the number of channels.
void accumulate(int64_t tiles, int64_t channels, int64_t filters, int64_t v_stride, const float* v, int64_t d_stride,
                const float* d, float* g) {
  constexpr int narrow = lanes == 16 ? 16 : 8, wide = lanes == 16 ? 8 : 4;
  const auto loop = block_size(filters) == lanes ? accumulate_by<narrow, 1> : accumulate_by<wide, 2>;
  loop(tiles, channels, filters, v_stride, v, d_stride, d, g);
}

constexpr WinogradLoops table{.transform_weight = transform_weight,
                              .transform_input = transform_input,
                              .transform_gradient = transform_gradient,
                              .transform_output = transform_output,
                              .blocks = blocks,
                              .multiply = multiply,
                              .accumulate = accumulate,
                              .transform_weight_gradient = transform_weight_gradient};

}  // namespace

template <>
const WinogradLoops& loops<WinogradLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp
