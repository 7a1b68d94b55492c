#include "tools/verify/verify.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/cpu/cpu_kernels.h"
#include "models/backbone.h"
#include "probes/probe.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/npy.h"

namespace hp {
namespace {

constexpr int64_t rgb = 3;

Tensor copy_of(const Tensor& tensor) {
  return Tensor::host(tensor.shape(), std::span<const float>(tensor.floats(), static_cast<size_t>(tensor.count())));
}

nlohmann::json preprocessing_of(const Parameters& weights) {
  return nlohmann::json::parse(weights.metadata.at("preprocessing"));
}

// [batch, channels, height, width] of [batch, height, width, channels].
Tensor channels_first(const Tensor& map) {
  const Shape& s = map.shape();
  const Tensor out = Tensor::host({s[0], s[3], s[1], s[2]});
  for (int64_t b = 0; b < s[0]; ++b)
    for (int64_t i = 0; i < s[1] * s[2]; ++i)
      for (int64_t c = 0; c < s[3]; ++c)
        out.floats()[(b * s[3] + c) * s[1] * s[2] + i] = map.floats()[(b * s[1] * s[2] + i) * s[3] + c];
  return out;
}

Tensor mean_of(const Tensor& map) {
  const Shape& s = map.shape();
  const Tensor out = Tensor::host({s[0], s[3]});
  for (int64_t b = 0; b < s[0]; ++b)
    for (int64_t c = 0; c < s[3]; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < s[1] * s[2]; ++i) sum += map.floats()[(b * s[1] * s[2] + i) * s[3] + c];
      out.floats()[b * s[3] + c] = static_cast<float>(sum / static_cast<double>(s[1] * s[2]));
    }
  return out;
}

struct Outputs {
  Tensor features, logits;  // logits: none without a classifier
};

Outputs run_network(Parameters weights, const Tensor& images) {
  const Shape& shape = images.shape();
  Backbone backbone = build_backbone(weights.metadata.at("architecture"), {shape[0], shape[1], shape[2]});
  const int64_t channels = backbone.channels();
  const int features = backbone.features();
  if (backbone.graph.contains("model_input.mean")) {
    const nlohmann::json preprocessing = preprocessing_of(weights);
    set_normalisation(weights, preprocessing.at("mean"), preprocessing.at("std"));
  }
  int logits = -1;
  const char* classifier = weights.contains("head.linear.weight") ? "head.linear.weight" : "head.weight";
  if (weights.contains(classifier)) {
    const Probe probe =
        Probe::converted({"classifier"}, weights, channels, numbered_classes(weights.at(classifier).shape()[0]));
    for (const std::string& name : probe.parameters.names()) weights.set(name, probe.parameters.at(name));
    logits = probe.build(backbone.graph, Value{features}).index;
  }
  CpuKernels kernels;
  std::vector<int> pinned{features};
  if (logits >= 0) pinned.push_back(logits);
  Executor executor(backbone.graph, weights, kernels, Keep::outputs, pinned);
  const Activations activations = executor.run(images);
  return {copy_of(activations.value(features)), logits < 0 ? Tensor() : copy_of(activations.value(logits))};
}

Parameters copied(const Parameters& weights) {
  Parameters copy;
  for (const std::string& name : weights.names()) copy.set(name, weights.at(name));
  copy.metadata = weights.metadata;
  return copy;
}

Verification compared(std::string what, const Tensor& got, const Tensor& expected) {
  double difference = 0, norm = 0, largest = 0, largest_expected = 0;
  for (int64_t i = 0; i < got.count(); ++i) {
    const double want = expected.floats()[i], d = got.floats()[i] - want;
    difference += d * d, norm += want * want;
    largest = std::max(largest, std::abs(d)), largest_expected = std::max(largest_expected, std::abs(want));
  }
  require(std::isfinite(norm) && norm > 0, "[verify] the expected numbers are all 0 or not finite");
  return {std::move(what), std::sqrt(difference / norm), largest / largest_expected};
}

}  // namespace

Tensor verification_image(int64_t side) {
  constexpr int64_t period = 17;
  const Tensor image = Tensor::host({1, side, side, rgb});
  for (int64_t y = 0; y < side; ++y)
    for (int64_t x = 0; x < side; ++x)
      for (int64_t c = 0; c < rgb; ++c)
        image.floats()[(y * side + x) * rgb + c] = static_cast<float>((7 * c + 3 * y + 5 * x) % period) / 16.0F;
  return image;
}

Tensor verification_images(const std::filesystem::path& npy) {
  const Tensor given = read_npy(npy);
  const Shape& s = given.shape();
  require(s.rank() == 4 && s[1] == rgb && given.dtype() == DType::float32 && given.count() > 0,
          "[verify] {}: images do not fit; got {}; expected [batch, 3, height, width] of floating point", npy.string(),
          s.str());
  const Tensor images = Tensor::host({s[0], s[2], s[3], rgb});
  const int64_t pixels = s[2] * s[3];
  for (int64_t b = 0; b < s[0]; ++b)
    for (int64_t i = 0; i < pixels; ++i)
      for (int64_t c = 0; c < rgb; ++c) {
        const float value = given.floats()[(b * rgb + c) * pixels + i];
        require(value >= 0 && value <= 1,
                "[verify] {}: a pixel is {}; expected RGB in [0, 1], before the network's own normalisation",
                npy.string(), value);
        images.floats()[(b * pixels + i) * rgb + c] = value;
      }
  return images;
}

int64_t native_side_of(const Parameters& weights) { return preprocessing_of(weights).value("crop", int64_t{224}); }

Verification verify(const Parameters& weights, const Tensor& images, const Tensor& expected) {
  const Outputs outputs = run_network(copied(weights), images);
  const Shape& map = outputs.features.shape();
  const Shape shape = expected.shape().rank() == 1 && map[0] == 1 ? Shape{1, expected.shape()[0]} : expected.shape();
  if (!outputs.logits.empty() && shape == outputs.logits.shape()) return compared("logits", outputs.logits, expected);
  if (shape == Shape{map[0], map[3]}) return compared("mean of the features", mean_of(outputs.features), expected);
  if (shape == Shape{map[0], map[3], map[1], map[2]})
    return compared("features", channels_first(outputs.features), expected);
  fail(
      "[verify] the expected numbers fit no output of {}; got {}; expected {}[{}, {}] (mean of the features) or [{}, "
      "{}, {}, {}] (features)",
      weights.metadata.at("architecture"), shape.str(),
      outputs.logits.empty() ? "" : outputs.logits.shape().str() + " (logits), ", map[0], map[3], map[0], map[3],
      map[1], map[2]);
}

}  // namespace hp
