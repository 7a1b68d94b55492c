// Metrics on heat maps [count, height, width]: one map is one thread's work.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_maps.h"
#include "kernels/cpu/parallel.h"

namespace hp {

namespace {

enum class Border { zero, reflect };

// Position `i`, at most size - 1 outside of [0, size), mirrored at the border pixel: -1 is 1, size is size - 2.
int64_t reflected(int64_t i, int64_t size) {
  if (i < 0) return -i;
  return i < size ? i : 2 * (size - 1) - i;
}

// A square separable filter over one map [height, width]; the window of output i begins at i - taps / 2.
void smooth_map(const MapsLoops& inner, const std::vector<float>& weights, Border border, int64_t height, int64_t width,
                const float* x, float* y) {
  const auto taps = static_cast<int64_t>(weights.size());
  const int64_t before = taps / 2, padded_height = height + taps - 1, padded_width = width + taps - 1;
  std::vector<float> line(static_cast<size_t>(padded_width));
  std::vector<float> rows(static_cast<size_t>(padded_height * width));  // filtered along the width, borders included
  for (int64_t i = 0; i < height; ++i) {
    const float* row = x + i * width;
    std::memcpy(line.data() + before, row, static_cast<size_t>(width) * sizeof(float));
    for (int64_t j = 0; border == Border::reflect && j < padded_width; ++j) line[j] = row[reflected(j - before, width)];
    inner.filter(width, taps, weights.data(), 1, line.data(), rows.data() + (i + before) * width);
  }
  for (int64_t i = 0; border == Border::reflect && i < padded_height; ++i) {
    const int64_t source = reflected(i - before, height) + before;
    if (source == i) continue;
    std::memcpy(rows.data() + i * width, rows.data() + source * width, static_cast<size_t>(width) * sizeof(float));
  }
  // Down in strips: the rows that two neighbouring outputs share stay in the first-level cache.
  constexpr int64_t strip = 64;
  for (int64_t j = 0; j < width; j += strip) {
    for (int64_t i = 0; i < height; ++i) {
      inner.filter(std::min(strip, width - j), taps, weights.data(), width, rows.data() + i * width + j,
                   y + i * width + j);
    }
  }
}

// Sorts the bits of floats that are not negative, whose order is that of the numbers (NaN behind infinity).
void sort_ascending(std::vector<uint32_t>& bits) {
  constexpr int digit_bits = 11;
  constexpr uint32_t digits = 1U << digit_bits;
  std::vector<uint32_t> sorted(bits.size());
  for (int shift = 0; shift < 32; shift += digit_bits) {
    std::array<size_t, digits> position{};
    for (const uint32_t value : bits) ++position[value >> shift & (digits - 1)];
    size_t begin = 0;
    for (size_t& entry : position) begin += std::exchange(entry, begin);
    for (const uint32_t value : bits) sorted[position[value >> shift & (digits - 1)]++] = value;
    bits.swap(sorted);
  }
}

float gini_of(int64_t n, double offset, const float* x) {
  std::vector<uint32_t> bits(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) bits[i] = std::bit_cast<uint32_t>(0.0f > x[i] ? 0.0f : x[i] + 0.0f);  // -0 becomes 0
  sort_ascending(bits);
  const double largest = std::bit_cast<float>(bits.back());
  if (largest == 0) return 0;
  double total = 0, weighted = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double value = std::bit_cast<float>(bits[i]) / largest + offset;
    total += value;
    weighted += static_cast<double>(2 * (i + 1) - n - 1) * value;
  }
  return static_cast<float>(weighted / (static_cast<double>(n) * total));
}

}  // namespace

void CpuKernels::box_smooth(Maps maps, int64_t size, const float* x, float* y) {
  const MapsLoops& inner = loops_for<MapsLoops>(isa_);
  const std::vector<float> weights(static_cast<size_t>(size), 1.0f / static_cast<float>(size));
  parallel_for(threads_, maps.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t offset = begin * maps.pixels(); offset < end * maps.pixels(); offset += maps.pixels()) {
      smooth_map(inner, weights, Border::zero, maps.height, maps.width, x + offset, y + offset);
    }
  });
}

void CpuKernels::gauss_smooth(Maps maps, int64_t size, float sigma, const float* x, float* y) {
  const MapsLoops& inner = loops_for<MapsLoops>(isa_);
  std::vector<double> exact(static_cast<size_t>(size));
  double total = 0;
  for (int64_t k = 0; k < size; ++k) {
    const double distance = (static_cast<double>(k) - 0.5 * static_cast<double>(size - 1)) / sigma;
    total += exact[k] = std::exp(-0.5 * distance * distance);
  }
  std::vector<float> weights;
  for (const double weight : exact) weights.push_back(static_cast<float>(weight / total));
  parallel_for(threads_, maps.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t offset = begin * maps.pixels(); offset < end * maps.pixels(); offset += maps.pixels()) {
      smooth_map(inner, weights, Border::reflect, maps.height, maps.width, x + offset, y + offset);
    }
  });
}

void CpuKernels::cell_sums(Maps maps, int64_t cells, const float* x, float* y) {
  const MapsLoops& inner = loops_for<MapsLoops>(isa_);
  const int64_t cell_height = maps.height / cells, cell_width = maps.width / cells;
  parallel_for(threads_, maps.count * cells, 1, [&](int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; ++band) {  // a row of cells of one map
      const float* first_row = x + band * cell_height * maps.width;
      for (int64_t cell = 0; cell < cells; ++cell) {
        double total = 0;
        for (int64_t i = 0; i < cell_height; ++i) {
          total += inner.positive_sum(cell_width, first_row + i * maps.width + cell * cell_width);
        }
        y[band * cells + cell] = static_cast<float>(total);
      }
    }
  });
}

void CpuKernels::mask_sums(Maps maps, const float* x, const float* mask, float* y) {
  const MapsLoops& inner = loops_for<MapsLoops>(isa_);
  const int64_t pixels = maps.pixels();
  parallel_for(threads_, maps.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t map = begin; map < end; ++map) {
      y[2 * map] = static_cast<float>(inner.masked_sum(pixels, x + map * pixels, mask + map * pixels));
      y[2 * map + 1] = static_cast<float>(inner.positive_sum(pixels, x + map * pixels));
    }
  });
}

void CpuKernels::entropy(Maps maps, const float* x, float* y) {
  constexpr float offset = 1e-10f;
  const MapsLoops& inner = loops_for<MapsLoops>(isa_);
  const int64_t pixels = maps.pixels();
  parallel_for(threads_, maps.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t map = begin; map < end; ++map) {
      const float* values = x + map * pixels;
      const double total = inner.positive_sum(pixels, values) + offset;
      // 0 - sum, so that a zero map gives 0 and not -0.
      y[map] = static_cast<float>(0.0 - inner.plogp_sum(pixels, values, static_cast<float>(1.0 / total), offset));
    }
  });
}

void CpuKernels::gini(Maps maps, float offset, const float* x, float* y) {
  const int64_t pixels = maps.pixels();
  parallel_for(threads_, maps.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t map = begin; map < end; ++map) y[map] = gini_of(pixels, offset, x + map * pixels);
  });
}

}  // namespace hp
