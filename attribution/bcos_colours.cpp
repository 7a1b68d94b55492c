#include "attribution/bcos_colours.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace hp {

namespace {

constexpr int64_t channels = 6;
constexpr double tiny = 1e-12;

// Mean over a square window; what lies outside counts as 0.
std::vector<double> window_means(const std::vector<double>& values, int64_t height, int64_t width, int64_t side) {
  const int64_t reach = side / 2;
  std::vector<double> rows(values.size()), means(values.size());
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      double sum = 0;
      for (int64_t i = std::max<int64_t>(x - reach, 0); i <= std::min(x + reach, width - 1); ++i)
        sum += values[static_cast<size_t>(y * width + i)];
      rows[static_cast<size_t>(y * width + x)] = sum;
    }
  }
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      double sum = 0;
      for (int64_t i = std::max<int64_t>(y - reach, 0); i <= std::min(y + reach, height - 1); ++i)
        sum += rows[static_cast<size_t>(i * width + x)];
      means[static_cast<size_t>(y * width + x)] = sum / static_cast<double>(side * side);
    }
  }
  return means;
}

// Interpolated linearly between the two nearest values.
double percentile_of(std::vector<double> values, double percentile) {
  std::ranges::sort(values);
  const double place = percentile / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace

std::vector<float> bcos_colours(std::span<const float> weights, std::span<const float> input, int64_t height,
                                int64_t width, BcosColours options) {
  const auto pixels = static_cast<size_t>(height * width);
  require(pixels > 0 && weights.size() == pixels * channels && input.size() == weights.size(),
          "[bcos] weights or input of the wrong size; got {} and {} values for {}x{} pixels; expected {} each",
          weights.size(), input.size(), width, height, pixels * channels);
  require(options.smoothing >= 1 && options.smoothing % 2 == 1,
          "[bcos] smoothing is no odd side of a window; got {}; expected 1, 3, 5 ...", options.smoothing);
  std::vector<float> colours(pixels * 4);
  std::vector<double> opacity(pixels);
  for (size_t p = 0; p < pixels; ++p) {
    const float *w = weights.data() + p * channels, *x = input.data() + p * channels;
    double largest = 0, square = 0, contribution = 0;
    for (int64_t c = 0; c < channels; ++c) {
      largest = std::max(largest, std::abs(static_cast<double>(w[c])));
      square += static_cast<double>(w[c]) * w[c];
      contribution += static_cast<double>(w[c]) * x[c];
    }
    const auto wanted = [&](int64_t c) { return std::max(w[c] / (largest + tiny), 0.0); };
    for (int64_t c = 0; c < 3; ++c)
      colours[p * 4 + static_cast<size_t>(c)] = static_cast<float>(wanted(c) / (wanted(c) + wanted(c + 3) + tiny));
    opacity[p] = contribution < 0 ? tiny : std::sqrt(square);
  }
  opacity = window_means(opacity, height, width, options.smoothing);
  const double full = percentile_of(opacity, options.percentile);
  for (size_t p = 0; p < pixels; ++p)
    colours[p * 4 + 3] = full > 0 ? static_cast<float>(std::clamp(opacity[p] / full, 0.0, 1.0)) : 0.0f;
  return colours;
}

Picture bcos_picture(std::span<const float> weights, std::span<const float> input, int64_t height, int64_t width,
                     BcosColours options) {
  const std::vector<float> colours = bcos_colours(weights, input, height, width, options);
  std::vector<float> rgb(colours.size() / 4 * 3);
  for (size_t i = 0; i < rgb.size(); ++i) {
    const float alpha = colours[i / 3 * 4 + 3];
    rgb[i] = alpha * colours[i / 3 * 4 + i % 3] + (1 - alpha);
  }
  return picture_of(rgb, height, width);
}

}  // namespace hp
