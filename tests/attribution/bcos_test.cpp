// B-cos networks and probes: contribution maps, their colours, and every other method through such probes.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "attribution/bcos_colours.h"
#include "attribution/method.h"
#include "attribution/methods/bcos.h"
#include "probes/probe.h"
#include "runtime/error.h"
#include "tests/attribution/device.h"
#include "tests/attribution/networks.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr int64_t side = 12, classes = 4;
constexpr float constant = -1.5f;

Probe formula_probe(HeadKind kind, int layers, int64_t channels, float temperature = 1) {
  ProbeSpec spec{.name = std::string(name_of(kind)), .head = kind, .logit_constant = constant, .layers = layers};
  spec.hidden = 9;
  spec.temperature = temperature;
  spec.bias = false;
  Probe probe = Probe::fresh(spec, channels, {"a", "b", "c", "d"}, 7);
  for (const std::string& name : probe.parameters.names()) {
    const Shape shape = probe.parameters.at(name).shape();
    const std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
    probe.parameters.set(name, Tensor::host(shape, golden::parameter(name, extents, false)));
  }
  return probe;
}

struct Explained {
  std::vector<double> sums;  // of the maps
  std::vector<float> maps, logits;
  std::vector<double> completeness;
};

// Two images, all classes, one head.
Explained explain(TestDevice& device, const Folded& backbone, const Probe& probe, const std::string& method,
                  const nlohmann::json& options = {}, bool nonnegative = true) {
  const Shape map = backbone.graph.node(backbone.graph.find("features")).shape;
  const Head head = probe.head(map, nonnegative, device.kernels());
  const int64_t size = backbone.graph.node(backbone.graph.find("image")).shape[1];
  Session session(backbone, std::span(&head, 1), device.kernels());
  const Tensor images = device.tensor({2, size, size, 3}, formula_images(2, size));
  std::vector<int> targets;
  for (int c = 0; c < classes; ++c) targets.insert(targets.end(), 2, c);
  const Explanation explanation = make_attribution(method, options)->explain(session, images, targets);
  Explained result{{}, device.values(explanation.map), explanation.logits, explanation.completeness};
  const size_t pixels = result.maps.size() / result.logits.size();
  for (size_t row = 0; row < result.logits.size(); ++row) {
    const auto begin = result.maps.begin() + static_cast<ptrdiff_t>(row * pixels);
    result.sums.push_back(std::accumulate(begin, begin + static_cast<ptrdiff_t>(pixels), 0.0));
  }
  return result;
}

}  // namespace

TEST_CASE("B-cos contributions sum to the logit without its constant") {
  TestDevice device;
  const Folded backbone = bcos_backbone(side);
  for (const auto& [kind, layers, temperature] :
       {std::tuple(HeadKind::bcos_linear, 1, 1.0f), std::tuple(HeadKind::bcos_mlp, 2, 1.0f),
        std::tuple(HeadKind::bcos_mlp, 3, 2.0f), std::tuple(HeadKind::linear, 1, 1.0f)}) {
    CAPTURE(name_of(kind));
    CAPTURE(layers);
    const Probe probe = formula_probe(kind, layers, 8, temperature);
    const Explained map = explain(device, backbone, probe, "bcos", {}, false);
    const Explained gradient = explain(device, backbone, probe, "ixg", {}, false);
    for (size_t row = 0; row < map.sums.size(); ++row) {
      const double logit = static_cast<double>(map.logits[row]) - constant;
      CHECK(std::abs(map.sums[row] - logit) < 1e-4 * std::max(1.0, std::abs(logit)));
    }
    // A layer scales with its input, so that gradients sum to the logit as well (Euler), but not pixel by pixel.
    CHECK(distance(gradient.maps, map.maps) > 0.1);
  }
}

TEST_CASE("B-cos maps are the same where norms are folded") {
  TestDevice device;
  const Folded plain = bcos_backbone(side), folded = fold_norms(plain.graph, plain.parameters);
  CHECK_FALSE(folded.graph.contains("bn1.weight"));
  CHECK(folded.graph.contains("bn2.weight"));  // behind a max-out
  CHECK(folded.graph.contains("bn3.weight"));  // B = 1.5
  const Probe probe = formula_probe(HeadKind::bcos_mlp, 2, 8);
  for (const char* method : {"bcos", "gradient", "gradcam"}) {
    CAPTURE(method);
    const Explained want = explain(device, plain, probe, method, {}, false);
    const Explained got = explain(device, folded, probe, method, {}, false);
    CHECK(distance(got.logits, want.logits) < 1e-6);
    CHECK(distance(got.maps, want.maps) < 1e-5);
  }
}

TEST_CASE("B-cos maps of a conventional backbone are refused with the reason and the methods there are") {
  TestDevice device;
  const Folded backbone = small_resnet();
  const Probe probe = formula_probe(HeadKind::bcos_mlp, 2, 64);
  const Head head = probe.head({1, 8, 8, 64}, true, device.kernels());
  Session session(backbone, std::span(&head, 1), device.kernels());
  const Tensor images = device.tensor({1, 32, 32, 3}, formula_images(1, 32));
  const int targets[] = {0};
  CHECK_THROWS_WITH_AS(make_attribution("bcos", {})->explain(session, images, targets),
                       doctest::Contains("19 conv2d without a B-cos scale, 19 relu"), Error);
  CHECK_THROWS_WITH_AS(make_attribution("bcos", {})->explain(session, images, targets),
                       doctest::Contains("ixg, gradient, guided_backprop, intgrad, gradcam and lrp"), Error);
  CHECK(conventional_parts(bcos_backbone(side).graph).empty());
}

TEST_CASE("every method goes through MLP and B-cos heads") {
  TestDevice device;
  const Folded backbone = block_without_biases(8);
  for (const auto& [kind, layers] : {std::pair(HeadKind::mlp, 2), std::pair(HeadKind::mlp, 3),
                                     std::pair(HeadKind::bcos_linear, 1), std::pair(HeadKind::bcos_mlp, 3)}) {
    CAPTURE(name_of(kind));
    CAPTURE(layers);
    const Probe probe = formula_probe(kind, layers, 6);
    for (const char* method : {"ixg", "gradcam", "guided_backprop", "lrp"}) {
      CAPTURE(method);
      const Explained map = explain(device, backbone, probe, method);
      CHECK(std::isfinite(largest(map.maps)));
      CHECK(largest(map.maps) > 0);
    }
    const Explained copied = explain(device, backbone, probe, "lrp", {{"residual", "copy"}});
    CHECK(std::isfinite(largest(copied.maps)));
    const Explained path = explain(device, backbone, probe, "intgrad", {{"nodes", 256}});
    for (const double error : path.completeness) CHECK(error < 0.05);
  }
}

// Without biases, and with the uncentred norm as a scale and the cosine taken as a constant, nothing absorbs relevance.
TEST_CASE("epsilon-LRP through B-cos heads conserves the logit without its constant") {
  TestDevice device;
  const Folded backbone = block_without_biases(8);
  const nlohmann::json composite = {{"base", "epsilon_plus"},
                                    {"rules", {{{"on", "conv2d"}, {"rule", "epsilon"}, {"epsilon", 1e-9}}}}};
  for (const int layers : {1, 2, 3}) {
    const Probe probe = formula_probe(layers == 1 ? HeadKind::bcos_linear : HeadKind::bcos_mlp, layers, 6);
    const Explained map = explain(device, backbone, probe, "lrp", {{"composite", composite}});
    for (size_t row = 0; row < map.sums.size(); ++row) {
      const double logit = static_cast<double>(map.logits[row]) - constant;
      CHECK(std::abs(map.sums[row] - logit) < 1e-3 * std::abs(logit));
    }
  }
}

TEST_CASE("B-cos colours: what the weights ask for, opaque where they speak for the class") {
  // Red wanted; green wanted inverted; red wanted where the contribution is negative.
  const std::vector<float> weights = {1, 0, 0, -1, 0, 0, 0, -2, 0, 0, 2, 0, 1, 0, 0, -1, 0, 0};
  const std::vector<float> input = {1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1};
  const std::vector<float> colours = bcos_colours(weights, input, 1, 3, {.smoothing = 1, .percentile = 100});
  const std::vector<float> want = {1, 0, 0, 0.5f, 0, 0, 0, 1, 1, 0, 0, 0};
  REQUIRE(colours.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) CHECK(std::abs(colours[i] - want[i]) < 1e-6);
  // Opacities 1, 2 (times the root of 2) and 0, averaged over three pixels of which the outer ones are padding.
  const std::vector<float> smooth = bcos_colours(weights, input, 1, 3, {.smoothing = 3, .percentile = 50});
  CHECK(smooth[3] == doctest::Approx(1));
  CHECK(smooth[11] == doctest::Approx(2.0 / 3));
  CHECK_THROWS_WITH_AS(bcos_colours(weights, input, 2, 3), doctest::Contains("wrong size"), Error);
  const Picture picture = bcos_picture(weights, input, 1, 3, {.smoothing = 1, .percentile = 100});
  CHECK(picture.rgb[0] == 255);
  CHECK(picture.rgb[1] == 128);
  CHECK(picture.rgb[8] == 255);
}
