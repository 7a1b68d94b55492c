#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

using Vector = std::vector<double>;

// The separable filter by its definition; at(i, size) is the position to read instead of i, or -1 for a zero.
template <class At>
Vector filtered(Maps maps, const Vector& taps, const Vector& x, At at) {
  const auto size = static_cast<int64_t>(taps.size()), half = size / 2;
  Vector rows(x.size()), y(x.size());
  for (int64_t line = 0; line < maps.count * maps.height; ++line) {
    for (int64_t j = 0; j < maps.width; ++j) {
      for (int64_t k = 0; k < size; ++k) {
        const int64_t from = at(j + k - half, maps.width);
        if (from >= 0) rows[line * maps.width + j] += taps[k] * x[line * maps.width + from];
      }
    }
  }
  for (int64_t map = 0; map < maps.count; ++map) {
    for (int64_t i = 0; i < maps.height; ++i) {
      for (int64_t k = 0; k < size; ++k) {
        const int64_t from = at(i + k - half, maps.height);
        if (from < 0) continue;
        const double* source = rows.data() + (map * maps.height + from) * maps.width;
        double* target = y.data() + (map * maps.height + i) * maps.width;
        for (int64_t j = 0; j < maps.width; ++j) target[j] += taps[k] * source[j];
      }
    }
  }
  return y;
}

int64_t inside_or_none(int64_t i, int64_t size) { return i >= 0 && i < size ? i : -1; }
int64_t mirrored(int64_t i, int64_t size) { return i < 0 ? -i : i < size ? i : 2 * size - 2 - i; }

std::string size_of(Maps maps) { return fmt::format("{}x{}x{}", maps.count, maps.height, maps.width); }

KernelCase box_case(Maps maps, int64_t size) {
  const int64_t n = maps.count * maps.pixels();
  return {.name = fmt::format("box_smooth {} size {}", size_of(maps), size),
          .inputs = {uniform(n, -1, 1, 1)},
          .outputs = {output(n)},
          .call = [=](Kernels& k, const Arguments& a) { k.box_smooth(maps, size, a.in(0), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                out[0] = filtered(maps, Vector(size, 1.0 / static_cast<double>(size)), in[0], inside_or_none);
              },
          .flops = 4.0 * static_cast<double>(size * n)};
}

KernelCase gauss_case(Maps maps, int64_t size, float sigma) {
  const int64_t n = maps.count * maps.pixels();
  Vector taps(size);
  double total = 0;
  for (int64_t k = 0; k < size; ++k) total += taps[k] = std::exp(-0.5 * std::pow((k - size / 2) / double{sigma}, 2));
  for (double& tap : taps) tap /= total;
  return {.name = fmt::format("gauss_smooth {} size {}", size_of(maps), size),
          .inputs = {uniform(n, -1, 1, 2)},
          .outputs = {output(n)},
          .call = [=](Kernels& k, const Arguments& a) { k.gauss_smooth(maps, size, sigma, a.in(0), a.out(0)); },
          .reference = [=](const Values& in, Values& out) { out[0] = filtered(maps, taps, in[0], mirrored); },
          .flops = 4.0 * static_cast<double>(size * n)};
}

KernelCase cell_sums_case(Maps maps, int64_t cells) {
  const int64_t n = maps.count * maps.pixels(), height = maps.height / cells, width = maps.width / cells;
  return {.name = fmt::format("cell_sums {} cells {}", size_of(maps), cells),
          .inputs = {uniform(n, -1, 1, 3)},
          .outputs = {output(maps.count * cells * cells)},
          .call = [=](Kernels& k, const Arguments& a) { k.cell_sums(maps, cells, a.in(0), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                std::ranges::fill(out[0], 0);
                for (int64_t i = 0; i < n; ++i) {
                  const int64_t map = i / maps.pixels(), row = i / maps.width % maps.height / height;
                  out[0][(map * cells + row) * cells + i % maps.width / width] += std::max(in[0][i], 0.0);
                }
              }};
}

KernelCase mask_sums_case(Maps maps) {
  const int64_t n = maps.count * maps.pixels();
  return {.name = fmt::format("mask_sums {}", size_of(maps)),
          .inputs = {uniform(n, -1, 1, 4), uniform(n, 0, 1, 5)},
          .outputs = {output(2 * maps.count)},
          .call = [=](Kernels& k, const Arguments& a) { k.mask_sums(maps, a.in(0), a.in(1), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                std::ranges::fill(out[0], 0);
                for (int64_t i = 0; i < n; ++i) {
                  out[0][i / maps.pixels() * 2] += std::max(in[0][i], 0.0) * in[1][i];
                  out[0][i / maps.pixels() * 2 + 1] += std::max(in[0][i], 0.0);
                }
              }};
}

// A scale far from 1 must not matter: gradients are small, relevance may be huge. The first of several maps is zero.
Array scaled_maps(Maps maps, double scale, uint32_t seed) {
  Array x = uniform(maps.count * maps.pixels(), -scale, scale, seed);
  if (maps.count > 1) std::fill_n(x.floats.begin(), maps.pixels(), 0.0f);
  return x;
}

KernelCase entropy_case(Maps maps, double scale) {
  return {.name = fmt::format("entropy {} scale {}", size_of(maps), scale),
          .inputs = {scaled_maps(maps, scale, 6)},
          .outputs = {output(maps.count)},
          .call = [=](Kernels& k, const Arguments& a) { k.entropy(maps, a.in(0), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t map = 0; map < maps.count; ++map) {
                  const double* x = in[0].data() + map * maps.pixels();
                  double total = 1e-10, entropy = 0;
                  for (int64_t i = 0; i < maps.pixels(); ++i) total += std::max(x[i], 0.0);
                  for (int64_t i = 0; i < maps.pixels(); ++i) {
                    const double q = std::max(x[i], 0.0) / total;
                    entropy -= q * std::log2(q + 1e-10);
                  }
                  out[0][map] = entropy;
                }
              }};
}

KernelCase gini_case(Maps maps, double scale, float offset) {
  return {.name = fmt::format("gini {} scale {} offset {}", size_of(maps), scale, offset),
          .inputs = {scaled_maps(maps, scale, 7)},
          .outputs = {output(maps.count)},
          .call = [=](Kernels& k, const Arguments& a) { k.gini(maps, offset, a.in(0), a.out(0)); },
          .reference =
              [=](const Values& in, Values& out) {
                const int64_t n = maps.pixels();
                for (int64_t map = 0; map < maps.count; ++map) {
                  Vector a(in[0].begin() + map * n, in[0].begin() + (map + 1) * n);
                  const double largest = std::max(std::ranges::max(a), 0.0);
                  for (double& value : a) value = largest > 0 ? std::max(value, 0.0) / largest + offset : 1;
                  std::ranges::sort(a);
                  double weighted = 0, total = 0;
                  for (int64_t i = 0; i < n; ++i) {
                    weighted += static_cast<double>(2 * (i + 1) - n - 1) * a[i];
                    total += a[i];
                  }
                  out[0][map] = weighted / (static_cast<double>(n) * total);
                }
              }};
}

}  // namespace

std::vector<KernelCase> maps_cases() {
  std::vector<KernelCase> cases;
  for (const Maps maps : {Maps{1, 1, 1}, Maps{3, 7, 9}, Maps{2, 12, 12}, Maps{3, 64, 96}, Maps{2, 131, 197}}) {
    for (const int64_t size : {1, 3, 5}) cases.push_back(box_case(maps, size));
    if (maps.height > 2) cases.push_back(gauss_case(maps, 5, 1.25f));
    if (maps.height > 64) cases.push_back(gauss_case(maps, 129, 32.25f));
    cases.push_back(mask_sums_case(maps));
    for (const double scale : {1.0, 1e-6, 1e6}) {
      if (maps.pixels() > 1) cases.push_back(entropy_case(maps, scale));
      cases.push_back(gini_case(maps, scale, 1e-7f));
    }
  }
  for (const int64_t cells : {1, 2, 3}) {
    cases.push_back(cell_sums_case({3, 12, 12}, cells));
    cases.push_back(cell_sums_case({2, 96, 192}, cells));
  }
  const Maps grid{2, 672, 672};  // two maps of a 3x3 grid of 224 images
  cases.push_back(box_case(grid, 5));
  cases.push_back(gauss_case(grid, 129, 32.25f));
  cases.push_back(cell_sums_case(grid, 3));
  cases.push_back(mask_sums_case(grid));
  cases.push_back(entropy_case(grid, 1));
  cases.push_back(gini_case(grid, 1, 1e-7f));
  return cases;
}

}  // namespace hp::cases
