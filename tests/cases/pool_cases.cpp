// Cases of pooling, bilinear resizing and strided copies.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

int64_t x_count(const Pool2d& p) { return p.batch * p.height * p.width * p.channels; }
int64_t y_count(const Pool2d& p) { return p.batch * p.out_height() * p.out_width() * p.channels; }

std::string describe(const Pool2d& p) {
  return fmt::format("{}x{}x{}x{} window {}x{} stride {} padding {}", p.batch, p.height, p.width, p.channels,
                     p.window_height, p.window_width, p.stride, p.padding);
}

// Calls element(y index, x index, position within the window) for every window element inside the map, in order.
template <class Element>
void for_windows(const Pool2d& p, Element element) {
  int64_t y = 0;
  for (int64_t image = 0; image < p.batch; ++image) {
    for (int64_t out_y = 0; out_y < p.out_height(); ++out_y) {
      for (int64_t out_x = 0; out_x < p.out_width(); ++out_x) {
        for (int64_t channel = 0; channel < p.channels; ++channel, ++y) {
          for (int64_t position = 0; position < p.window_height * p.window_width; ++position) {
            const int64_t in_y = out_y * p.stride - p.padding + position / p.window_width;
            const int64_t in_x = out_x * p.stride - p.padding + position % p.window_width;
            if (in_y < 0 || in_y >= p.height || in_x < 0 || in_x >= p.width) continue;
            element(y, ((image * p.height + in_y) * p.width + in_x) * p.channels + channel, position);
          }
        }
      }
    }
  }
}

// out[0]: the maxima, out[1] (if there): their positions.
void max_reference(const Pool2d& p, const std::vector<double>& x, Values& out) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> positions(out[0].size(), -1);
  std::fill(out[0].begin(), out[0].end(), -infinity);
  for_windows(p, [&](int64_t y, int64_t i, int64_t position) {
    if (positions[y] >= 0 && !(x[i] > out[0][y])) return;
    out[0][y] = x[i];
    positions[y] = static_cast<double>(position);
  });
  if (out.size() > 1) out[1] = positions;
}

KernelCase max_case(const Pool2d& p, Array x, const std::string& kind) {
  KernelCase result;
  result.name = "max_pool " + describe(p) + kind;
  result.inputs = {std::move(x)};
  result.outputs = {output(y_count(p)), output_ints(y_count(p))};
  result.call = [p](Kernels& kernels, const Arguments& a) { kernels.max_pool(p, a.in(0), a.out(0), a.out_ints(1)); };
  result.reference = [p](const Values& in, Values& out) { max_reference(p, in[0], out); };
  result.tolerance = 0;
  return result;
}

// The positions come from x (input 0), so that the finite differences fit them.
KernelCase max_vjp_case(const Pool2d& p, int targets) {
  Array x = uniform(x_count(p), -1, 1, 1);
  Values maxima(2, std::vector<double>(y_count(p)));
  max_reference(p, as_doubles(x), maxima);
  Array argmax = output_ints(y_count(p));
  for (size_t i = 0; i < argmax.ints.size(); ++i) argmax.ints[i] = static_cast<int32_t>(maxima[1][i]);

  KernelCase result;
  result.name = fmt::format("max_pool_vjp {} targets {}", describe(p), targets);
  result.inputs = {std::move(x), std::move(argmax), per_target(uniform(targets * y_count(p), -1, 1, 2))};
  result.outputs = {per_target(output(targets * x_count(p)))};
  result.call = [p](Kernels& kernels, const Arguments& a) {
    kernels.max_pool_vjp(p, a.targets, a.in_ints(1), a.in(2), a.out(0));
  };
  result.reference = [p, targets](const Values& in, Values& out) {
    std::fill(out[0].begin(), out[0].end(), 0.0);
    for (int64_t target = 0; target < targets; ++target) {
      for_windows(p, [&](int64_t y, int64_t x, int64_t position) {
        if (in[1][y] != static_cast<double>(position)) return;
        out[0][target * x_count(p) + x] += in[2][target * y_count(p) + y];
      });
    }
  };
  result.targets = targets;
  result.derivatives = {{.by = 0, .message = 2, .output = 0, .forward = [p](const Values& in, Values& out) {
                           max_reference(p, in[0], out);
                         }}};
  return result;
}

void average_reference(const Pool2d& p, const std::vector<double>& x, std::vector<double>& mean) {
  std::fill(mean.begin(), mean.end(), 0.0);
  const auto area = static_cast<double>(p.window_height * p.window_width);
  for_windows(p, [&](int64_t y, int64_t i, int64_t) { mean[y] += x[i] / area; });
}

KernelCase average_case(const Pool2d& p) {
  KernelCase result;
  result.name = "avg_pool " + describe(p);
  result.inputs = {uniform(x_count(p), -1, 1, 1)};
  result.outputs = {output(y_count(p))};
  result.call = [p](Kernels& kernels, const Arguments& a) { kernels.avg_pool(p, a.in(0), a.out(0)); };
  result.reference = [p](const Values& in, Values& out) { average_reference(p, in[0], out[0]); };
  return result;
}

KernelCase average_vjp_case(const Pool2d& p, int targets) {
  KernelCase result;
  result.name = fmt::format("avg_pool_vjp {} targets {}", describe(p), targets);
  result.inputs = {uniform(x_count(p), -1, 1, 1), per_target(uniform(targets * y_count(p), -1, 1, 2))};
  result.outputs = {per_target(output(targets * x_count(p)))};
  result.call = [p](Kernels& kernels, const Arguments& a) {
    Pool2d all = p;
    all.batch *= a.targets;
    kernels.avg_pool_vjp(all, a.in(1), a.out(0));
  };
  result.reference = [p, targets](const Values& in, Values& out) {
    Pool2d all = p;
    all.batch *= targets;
    std::fill(out[0].begin(), out[0].end(), 0.0);
    const auto area = static_cast<double>(p.window_height * p.window_width);
    for_windows(all, [&](int64_t y, int64_t x, int64_t) { out[0][x] += in[1][y] / area; });
  };
  result.targets = targets;
  result.derivatives = {{.by = 0, .message = 1, .output = 0, .forward = [p](const Values& in, Values& out) {
                           average_reference(p, in[0], out[0]);
                         }}};
  return result;
}

std::vector<Pool2d> windows() {
  return {
      {.batch = 2,
       .height = 16,
       .width = 16,
       .channels = 64,
       .window_height = 3,
       .window_width = 3,
       .stride = 2,
       .padding = 1},
      {.batch = 1,
       .height = 9,
       .width = 7,
       .channels = 17,
       .window_height = 3,
       .window_width = 3,
       .stride = 2,
       .padding = 1},
      {.batch = 3, .height = 8, .width = 10, .channels = 3, .window_height = 2, .window_width = 2, .stride = 2},
      {.batch = 1, .height = 9, .width = 11, .channels = 5, .window_height = 2, .window_width = 3, .stride = 1},
      {.batch = 1,
       .height = 7,
       .width = 9,
       .channels = 16,
       .window_height = 3,
       .window_width = 3,
       .stride = 1,
       .padding = 1},
      {.batch = 1, .height = 11, .width = 11, .channels = 4, .window_height = 2, .window_width = 2, .stride = 3},
      {.batch = 2, .height = 7, .width = 7, .channels = 600, .window_height = 7, .window_width = 7, .stride = 1},
      {.batch = 1, .height = 6, .width = 4, .channels = 1, .window_height = 6, .window_width = 4, .stride = 1},
  };
}

// The weight of input `in` in output `out` on one axis, as the definition has it: a hat around the output's centre,
// with everything beyond the outermost centres given to the outermost inputs.
double hat(int64_t in, int64_t out, int64_t size, int64_t out_size) {
  const double position = (static_cast<double>(out) + 0.5) * static_cast<double>(size) / static_cast<double>(out_size);
  const double centre = std::clamp(position - 0.5, 0.0, static_cast<double>(size - 1));
  return std::max(0.0, 1.0 - std::abs(static_cast<double>(in) - centre));
}

// Calls term(y index, x index, weight) for every pair of pixels and channel that belong together.
template <class Term>
void for_taps(const Resize2d& r, Term term) {
  for (int64_t image = 0; image < r.batch; ++image) {
    for (int64_t out = 0; out < r.out_height * r.out_width; ++out) {
      for (int64_t in = 0; in < r.height * r.width; ++in) {
        const double weight = hat(in / r.width, out / r.out_width, r.height, r.out_height) *
                              hat(in % r.width, out % r.out_width, r.width, r.out_width);
        if (weight == 0) continue;
        for (int64_t channel = 0; channel < r.channels; ++channel) {
          term((image * r.out_height * r.out_width + out) * r.channels + channel,
               (image * r.height * r.width + in) * r.channels + channel, weight);
        }
      }
    }
  }
}

KernelCase resize_case(const Resize2d& r, bool vjp, int targets = 1) {
  const int64_t x_count = r.batch * r.height * r.width * r.channels;
  const int64_t y_count = r.batch * r.out_height * r.out_width * r.channels;
  const auto forward = [r](const Values& in, Values& out) {
    std::fill(out[0].begin(), out[0].end(), 0.0);
    for_taps(r, [&](int64_t y, int64_t x, double weight) { out[0][y] += weight * in[0][x]; });
  };
  KernelCase result;
  result.name = fmt::format("resize_bilinear{} {}x{}x{}x{} to {}x{}{}", vjp ? "_vjp" : "", r.batch, r.height, r.width,
                            r.channels, r.out_height, r.out_width, targets > 1 ? " targets 3" : "");
  result.inputs = {uniform(x_count, -1, 1, 1)};
  if (!vjp) {
    result.outputs = {output(y_count)};
    result.call = [r](Kernels& kernels, const Arguments& a) { kernels.resize_bilinear(r, a.in(0), a.out(0)); };
    result.reference = forward;
    return result;
  }
  result.inputs.push_back(per_target(uniform(targets * y_count, -1, 1, 2)));
  result.outputs = {per_target(output(targets * x_count))};
  result.call = [r](Kernels& kernels, const Arguments& a) {
    Resize2d all = r;
    all.batch *= a.targets;
    kernels.resize_bilinear_vjp(all, a.in(1), a.out(0));
  };
  result.reference = [r, targets](const Values& in, Values& out) {
    Resize2d all = r;
    all.batch *= targets;
    std::fill(out[0].begin(), out[0].end(), 0.0);
    for_taps(all, [&](int64_t y, int64_t x, double weight) { out[0][x] += weight * in[1][y]; });
  };
  result.targets = targets;
  result.derivatives = {{.by = 0, .message = 1, .output = 0, .forward = forward}};
  return result;
}

KernelCase copy_case(const std::string& name, const Block& block, int64_t src_count, int64_t dst_count) {
  KernelCase result;
  result.name = "copy_block " + name;
  result.inputs = {uniform(src_count, -1, 1, 1)};
  result.outputs = {output_starting_as(uniform(dst_count, -1, 1, 2))};
  result.call = [block](Kernels& kernels, const Arguments& a) { kernels.copy_block(block, a.in(0), a.out(0)); };
  result.reference = [block](const Values& in, Values& out) {
    const auto& n = block.extent;
    for (int64_t i = 0; i < n[0] * n[1] * n[2] * n[3]; ++i) {
      const int64_t at[4] = {i / n[3] / n[2] / n[1], i / n[3] / n[2] % n[1], i / n[3] % n[2], i % n[3]};
      int64_t from = block.src_offset, to = block.dst_offset;
      for (int axis = 0; axis < 4; ++axis) {
        from += at[axis] * block.src_stride[axis];
        to += at[axis] * block.dst_stride[axis];
      }
      out[0][to] = in[0][from];
    }
  };
  result.tolerance = 0;
  return result;
}

}  // namespace

std::vector<KernelCase> pool_cases() {
  std::vector<KernelCase> cases;
  for (const Pool2d& p : windows()) {
    cases.push_back(max_case(p, uniform(x_count(p), -1, 1, 1), ""));
    cases.push_back(max_case(p, uniform(x_count(p), -2, -1, 1), " below zero"));
    cases.push_back(max_case(p, relu_like(x_count(p), 1), " with ties"));
    cases.push_back(max_vjp_case(p, 1));
    cases.push_back(max_vjp_case(p, 3));
    cases.push_back(average_case(p));
    cases.push_back(average_vjp_case(p, 1));
    cases.push_back(average_vjp_case(p, 3));
  }
  return cases;
}

std::vector<KernelCase> resize_cases() {
  std::vector<KernelCase> cases;
  const std::vector<Resize2d> shapes = {
      {.batch = 2, .height = 7, .width = 7, .channels = 1, .out_height = 28, .out_width = 28},
      {.batch = 1, .height = 5, .width = 8, .channels = 17, .out_height = 13, .out_width = 9},
      {.batch = 2, .height = 14, .width = 12, .channels = 3, .out_height = 7, .out_width = 5},
      {.batch = 1, .height = 30, .width = 31, .channels = 2, .out_height = 4, .out_width = 3},
      {.batch = 1, .height = 1, .width = 1, .channels = 64, .out_height = 6, .out_width = 5},
      {.batch = 1, .height = 6, .width = 5, .channels = 64, .out_height = 1, .out_width = 1},
      {.batch = 3, .height = 6, .width = 6, .channels = 16, .out_height = 6, .out_width = 6},
      {.batch = 1, .height = 2, .width = 3, .channels = 8, .out_height = 37, .out_width = 41},
  };
  for (const Resize2d& shape : shapes) {
    cases.push_back(resize_case(shape, false));
    cases.push_back(resize_case(shape, true));
    cases.push_back(resize_case(shape, true, 3));
  }
  return cases;
}

std::vector<KernelCase> move_cases() {
  return {
      copy_case("whole", {.extent = {2, 3, 4, 5}, .src_stride = {60, 20, 5, 1}, .dst_stride = {60, 20, 5, 1}}, 120,
                120),
      copy_case("large whole", {.extent = {1, 1, 500, 500}, .src_stride = {0, 0, 500, 1}, .dst_stride = {0, 0, 500, 1}},
                250000, 250000),
      copy_case("channels last to channels first",
                {.extent = {2, 9, 11, 35}, .src_stride = {3465, 385, 35, 1}, .dst_stride = {3465, 11, 1, 99}}, 6930,
                6930),
      copy_case("channels first to channels last",
                {.extent = {2, 35, 9, 11}, .src_stride = {3465, 99, 11, 1}, .dst_stride = {3465, 1, 385, 35}}, 6930,
                6930),
      copy_case("tokens to heads",
                {.extent = {2, 50, 4, 16}, .src_stride = {3200, 64, 16, 1}, .dst_stride = {3200, 16, 800, 1}}, 6400,
                6400),
      copy_case("heads to transposed heads",
                {.extent = {2, 4, 50, 16}, .src_stride = {3200, 16, 64, 1}, .dst_stride = {3200, 800, 1, 50}}, 6400,
                6400),
      copy_case("crop",
                {.extent = {2, 5, 6, 3}, .src_offset = 93, .src_stride = {300, 30, 3, 1}, .dst_stride = {90, 18, 3, 1}},
                600, 180),
      copy_case("paste",
                {.extent = {2, 5, 6, 3}, .src_stride = {90, 18, 3, 1}, .dst_offset = 93, .dst_stride = {300, 30, 3, 1}},
                180, 600),
      copy_case("concatenated channels",
                {.extent = {1, 1, 64, 10}, .src_stride = {0, 0, 10, 1}, .dst_offset = 7, .dst_stride = {0, 0, 24, 1}},
                640, 64 * 24),
      copy_case("every other row", {.extent = {1, 8, 8, 4}, .src_stride = {0, 128, 8, 1}, .dst_stride = {0, 32, 4, 1}},
                1024, 256),
      copy_case("mirrored",
                {.extent = {1, 6, 10, 3}, .src_offset = 27, .src_stride = {0, 30, -3, 1}, .dst_stride = {0, 30, 3, 1}},
                180, 180),
      copy_case("one value repeated",
                {.extent = {1, 3, 70, 90}, .src_stride = {0, 1, 0, 0}, .dst_stride = {0, 6300, 90, 1}}, 3, 18900),
      copy_case("a single value", {.src_offset = 3, .dst_offset = 2}, 5, 4),
      copy_case("nothing", {.extent = {2, 0, 3, 4}, .src_stride = {12, 12, 4, 1}, .dst_stride = {12, 12, 4, 1}}, 24,
                24),
  };
}

}  // namespace hp::cases
