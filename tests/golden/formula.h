// The formulas that make the golden tests' weights, inputs, messages and sampling positions; formula.py is their twin.
//
// Everything is a function of (index, seed) and equal to formula.py bit for bit, so nothing but results is stored in
// the golden files. The index of an element is its position in a row-major tensor: weights [out, in, height, width],
// feature maps, images and messages [batch, height, width, channels].
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace hp::golden {

inline constexpr std::array<double, 3> mean = {0.485, 0.456, 0.406};
inline constexpr std::array<double, 3> standard_deviation = {0.229, 0.224, 0.225};

// 32-bit FNV-1a hash of a name's bytes: the seed of the tensor of that name.
inline std::uint32_t fnv1a(std::string_view name) {
  std::uint32_t value = 2166136261U;
  for (const char character : name) {
    value = (value ^ static_cast<std::uint8_t>(character)) * 16777619U;
  }
  return value;
}

// 32 well-mixed bits. Indices beyond 2^32 wrap.
inline std::uint32_t mix(std::uint64_t index, std::uint32_t seed) {
  std::uint32_t bits = static_cast<std::uint32_t>(index) * 2654435761U + (seed * 40503U + 1U);
  bits ^= bits >> 16U;
  bits *= 0x85EBCA6BU;
  bits ^= bits >> 13U;
  bits *= 0xC2B2AE35U;
  bits ^= bits >> 16U;
  return bits;
}

// In [-1, 1): 24 bits, exact.
inline float uniform(std::uint64_t index, std::uint32_t seed) {
  return static_cast<float>(mix(index, seed) >> 8U) * 0x1p-23F - 1.0F;
}

// In [0, 1): 24 bits, exact.
inline float unit(std::uint64_t index, std::uint32_t seed) {
  return static_cast<float>(mix(index, seed) >> 8U) * 0x1p-24F;
}

// u in [-1, 1): messages, and inputs of any sign.
inline std::vector<float> signed_tensor(std::string_view name, std::size_t size) {
  const std::uint32_t seed = fnv1a(name);
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = uniform(i, seed);
  return values;
}

// max(u, 0): about half the elements are 0, as behind a ReLU.
inline std::vector<float> relu_tensor(std::string_view name, std::size_t size) {
  std::vector<float> values = signed_tensor(name, size);
  for (float& value : values) value = value > 0.0F ? value : 0.0F;
  return values;
}

// RGB image in [0, 1), [batch, height, width, 3].
inline std::vector<float> image_tensor(std::string_view name, std::size_t size) {
  const std::uint32_t seed = fnv1a(name);
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = unit(i, seed);
  return values;
}

// The same image, (p - mean) / standard_deviation per channel in double precision, rounded to float32.
inline std::vector<float> normalised_image_tensor(std::string_view name, std::size_t size) {
  std::vector<float> values = image_tensor(name, size);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t channel = i % 3;
    values[i] = static_cast<float>((static_cast<double>(values[i]) - mean[channel]) / standard_deviation[channel]);
  }
  return values;
}

// Position of sample k of `count` ascending ones in a tensor of `size` elements, one in each of `count` equal strata.
// Needs count <= size.
inline std::size_t sample_index(std::size_t k, std::size_t count, std::size_t size, std::uint32_t seed) {
  const std::size_t begin = k * size / count;
  const std::size_t end = (k + 1) * size / count;
  return begin + mix(k, seed) % (end - begin);
}

// A ResNet's parameter by torchvision name (as stored in a checkpoint, before batch norm folding): shape
// [out, in, height, width], [out, in] or [channels]. `last_norm` marks the last batch norm of a residual block.
inline std::vector<float> parameter(std::string_view name, const std::vector<std::int64_t>& shape, bool last_norm) {
  const std::uint32_t seed = fnv1a(name);
  const std::string_view kind = name.substr(name.rfind('.') + 1);
  std::size_t size = 1;
  for (const std::int64_t extent : shape) size *= static_cast<std::size_t>(extent);
  double scale = 0.1;
  bool divide = false;
  if (shape.size() == 4) {
    scale = std::sqrt(6.0 / static_cast<double>(shape[1] * shape[2] * shape[3]));
  } else if (shape.size() == 2) {
    scale = std::sqrt(static_cast<double>(shape[1]));
    divide = true;
  } else if (kind != "weight" && kind != "bias" && kind != "running_mean" && kind != "running_var") {
    throw std::invalid_argument("no formula for parameter '" + std::string(name) + "'");
  }
  const bool norm_weight = shape.size() == 1 && kind == "weight";
  const bool variance = kind == "running_var";
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) {
    const double u = uniform(i, seed);
    double value = divide ? u / scale : u * scale;
    if (norm_weight) value = (1.0 + 0.5 * u) * (i % 11 == 3 ? -1.0 : 1.0) * (last_norm ? 0.5 : 1.0);
    if (variance) value = 1.0 + 0.5 * u;
    values[i] = static_cast<float>(value);
  }
  return values;
}

// True for the last batch norm of a residual block, by torchvision name: "layer1.0.bn2.weight" where blocks have two
// convolutions (ResNet-18, -34), "layer1.0.bn3.weight" where they have three.
inline bool is_last_norm(std::string_view name, bool bottleneck) {
  return name.starts_with("layer") && name.find(bottleneck ? ".bn3." : ".bn2.") != std::string_view::npos;
}

enum class Pattern { noise, blocks, smooth };

// Test image [height, width, 3]: noise, blocks of 0 and 255, or ramps that wrap around. Only noise uses the name.
inline std::vector<std::uint8_t> pattern_bytes(Pattern pattern, std::string_view name, std::size_t height,
                                               std::size_t width) {
  const std::uint32_t seed = fnv1a(name);
  std::vector<std::uint8_t> bytes(height * width * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t c = i % 3;
    const std::size_t x = i / 3 % width;
    const std::size_t y = i / 3 / width;
    std::size_t value = mix(i, seed) >> 24U;
    if (pattern == Pattern::blocks) value = (x / 5 + y / 3 + c) % 2 * 255;
    if (pattern == Pattern::smooth) value = (x * 5 + y * 3 + c * 60) % 256;
    bytes[i] = static_cast<std::uint8_t>(value);
  }
  return bytes;
}

}  // namespace hp::golden
