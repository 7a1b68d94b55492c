// Methods against their definitions on networks small enough to compute by hand, and against each other.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "attribution/method.h"
#include "attribution/methods/quadrature.h"
#include "runtime/error.h"
#include "tests/attribution/device.h"
#include "tests/attribution/networks.h"

namespace hp {
namespace {

using nlohmann::json;
using test::distance;
using test::TestDevice;

Explanation explain(Session& session, const std::string& method, const json& options, const Tensor& images,
                    const std::vector<int>& targets, const Watch& watch = {}) {
  return make_attribution(method, options)->explain(session, images, targets, watch);
}

std::vector<float> values_at(const Parameters& parameters, const std::string& name) {
  const Tensor& tensor = parameters.at(name);
  return {tensor.floats(), tensor.floats() + tensor.count()};
}

std::vector<float> model_input(Session& session, TestDevice& device, const Tensor& images) {
  const Pass pass = session.forward(images, {"gradient", {}, {}});
  return device.values(pass.activations().value(pass.graph().find("model_input")));
}

TEST_CASE("Gauss-Legendre nodes are protocol 9's and integrate polynomials exactly") {
  const Quadrature fifty = gauss_legendre(50);
  CHECK(fifty.nodes[0] == doctest::Approx(.0005668).epsilon(1e-4));
  CHECK(fifty.nodes[1] == doctest::Approx(.00298402).epsilon(1e-6));
  CHECK(fifty.weights[0] == doctest::Approx(.00145431).epsilon(1e-5));
  CHECK(fifty.weights[1] == doctest::Approx(.0033799).epsilon(1e-5));
  for (int count : {1, 2, 3, 5, 16, 50, 1000}) {
    CAPTURE(count);
    const Quadrature way = gauss_legendre(count);
    CHECK(std::is_sorted(way.nodes.begin(), way.nodes.end()));
    CHECK(std::accumulate(way.weights.begin(), way.weights.end(), 0.0) == doctest::Approx(1).epsilon(1e-13));
    for (int degree = 1; degree < std::min(2 * count, 40); ++degree) {
      double integral = 0;
      for (size_t k = 0; k < way.nodes.size(); ++k) integral += way.weights[k] * std::pow(way.nodes[k], degree);
      CHECK(integral == doctest::Approx(1.0 / (degree + 1)).epsilon(1e-13));
    }
  }
}

TEST_CASE("on a linear network Input x Gradient, Integrated Gradients and LRP-0 are w * x") {
  TestDevice device;
  Graph graph;
  Value x = test::start_backbone(graph, 4);
  x = test::conv(graph, x, "conv1", 5, 3, false);
  graph.alias("features", test::conv(graph, x, "conv2", 4, 1, false));
  const std::vector<Head> heads = test::small_heads({"a", "b"}, {1, 4, 4, 4}, 3, false);
  Session session(test::unfolded(graph, test::formula_parameters(graph)), heads, device.kernels());
  const Tensor images = device.tensor({2, 4, 4, 3}, test::formula_images(2, 4));
  const std::vector<int> targets = {0, 2};

  // w: the logits of unit vectors at the model input.
  std::vector<float> units(48 * 48, 0.0f);
  for (size_t i = 0; i < 48; ++i) units[49 * i] = 1;
  const Pass basis = session.forward(device.tensor({48, 4, 4, 3}, units), {"gradient", {}, {}}, Start::model_input);
  const std::vector<float> input = model_input(session, device, images);
  std::vector<float> want;
  for (size_t head = 0; head < 2; ++head) {
    const std::vector<float> w = session.logits(basis, head);  // [48, 3]
    for (size_t b = 0; b < 2; ++b) {
      for (size_t i = 0; i < 48; ++i) want.push_back(w[3 * i + static_cast<size_t>(targets[b])] * input[48 * b + i]);
    }
  }
  const json epsilon = {{"composite",
                         {{"rules",
                           {{{"at", "*conv*"}, {"rule", "epsilon"}, {"epsilon", 1e-12}},
                            {{"at", "head"}, {"rule", "epsilon"}, {"epsilon", 1e-12}},
                            {{"on", "avg_pool"}, {"rule", "norm"}, {"epsilon", 1e-12}}}}}}};
  for (const auto& [method, options] : {std::pair<std::string, json>("ixg", {}),
                                        {"intgrad", {{"nodes", 1}}},
                                        {"intgrad", {{"nodes", 7}, {"images_at_once", 4}}},
                                        {"lrp", epsilon}}) {
    CAPTURE(method);
    const Explanation explanation = explain(session, method, options, images, targets);
    CHECK(distance(device.values(explanation.raw), want) < 1e-5);
    const std::vector<float> map = device.values(explanation.map);
    for (size_t row = 0; row < 4; ++row) {
      const double sum = std::accumulate(map.begin() + static_cast<ptrdiff_t>(16 * row),
                                         map.begin() + static_cast<ptrdiff_t>(16 * row + 16), 0.0);
      CHECK(sum == doctest::Approx(explanation.logits[row]).epsilon(1e-4));
    }
  }
}

TEST_CASE("Integrated Gradients is complete on a smooth network, and its chunks change nothing") {
  TestDevice device;
  Graph graph;
  Value x = test::start_backbone(graph, 6);
  x = graph.add(std::make_shared<ActivationOp>(OpKind::sigmoid), {test::conv(graph, x, "conv1", 8, 3, true)}, "s1");
  x = graph.add(std::make_shared<ActivationOp>(OpKind::tanh), {test::conv(graph, x, "conv2", 8, 3, true)}, "s2");
  graph.alias("features", x);
  Session session(test::unfolded(graph, test::formula_parameters(graph)),
                  test::small_heads({"a", "b"}, {1, 6, 6, 8}, 3), device.kernels());
  const Tensor images = device.tensor({2, 6, 6, 3}, test::formula_images(2, 6));
  const std::vector<int> targets = {0, 1, 2, 0};
  const Explanation all = explain(session, "intgrad", {{"nodes", 30}, {"images_at_once", 64}}, images, targets);
  REQUIRE(all.completeness.size() == 8);
  for (double error : all.completeness) CHECK(error < 1e-4);
  for (int at_once : {1, 7, 16}) {
    const Explanation parts =
        explain(session, "intgrad", {{"nodes", 30}, {"images_at_once", at_once}}, images, targets);
    CHECK(distance(device.values(parts.raw), device.values(all.raw)) < 1e-5);
  }
  // With one node it is the gradient in the middle of the way, which is not complete.
  const Explanation one = explain(session, "intgrad", {{"nodes", 1}}, images, targets);
  CHECK(*std::max_element(one.completeness.begin(), one.completeness.end()) > 1e-3);
  CHECK_THROWS_WITH_AS(explain(session, "intgrad", {}, images, targets, {{"s1"}, false}),
                       doctest::Contains("not defined for an average of walks"), Error);
}

TEST_CASE("more nodes make Integrated Gradients of a ResNet more complete") {
  TestDevice device;
  Session session(test::small_resnet(), test::small_heads({"a"}, {1, 8, 8, 64}, 10), device.kernels());
  const Tensor images = device.tensor({1, 32, 32, 3}, test::formula_images(1, 32));
  const std::vector<int> targets = {1, 5, 8};
  const auto error = [&](int nodes) {
    const Explanation explanation = explain(session, "intgrad", {{"nodes", nodes}}, images, targets);
    return std::accumulate(explanation.completeness.begin(), explanation.completeness.end(), 0.0) / 3;
  };
  const double few = error(3), many = error(96);
  CHECK(many < 0.1 * few);
  CHECK(many < 0.02);
}

TEST_CASE("GradCAM with a pooled linear head is the class activation map over the number of pixels") {
  TestDevice device;
  const std::vector<Head> heads = test::small_heads({"a", "b"}, {1, 8, 8, 64}, 10);
  Session session(test::small_resnet(), heads, device.kernels());
  const Tensor images = device.tensor({2, 32, 32, 3}, test::formula_images(2, 32));
  const std::vector<int> targets = {3, 4, 9, 0};
  const Explanation explanation = explain(session, "gradcam", {}, images, targets);
  const Pass pass = session.forward(images, {"gradient", {}, {}});
  const std::vector<float> features = device.values(pass.activations().value(pass.graph().find("features")));
  std::vector<float> want;
  for (size_t head = 0; head < 2; ++head) {
    const std::vector<float> w = values_at(heads[head].parameters, "head.weight");  // [10, 64]
    for (size_t row = 0; row < 4; ++row) {
      for (size_t p = 0; p < 64; ++p) {
        double sum = 0;
        for (size_t k = 0; k < 64; ++k) {
          sum += static_cast<double>(w[64 * static_cast<size_t>(targets[row]) + k]) *
                 features[(row % 2 * 64 + p) * 64 + k];
        }
        want.push_back(static_cast<float>(sum / 64));
      }
    }
  }
  const std::vector<float> raw = device.values(explanation.raw);
  CHECK(explanation.raw.shape() == Shape{8, 8, 8, 1});
  CHECK(distance(raw, want) < 1e-5);

  // Bilinear, half-pixel centres: output pixel i lies at (i + 1/2) / 4 - 1/2 of the small map, cut to its range.
  std::vector<float> large;
  for (size_t row = 0; row < 8; ++row) {
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 32; ++x) {
        const auto at = [](int i) { return std::clamp((i + 0.5) / 4 - 0.5, 0.0, 7.0); };
        const auto cell = [&](int i, int j) {
          return static_cast<double>(raw[row * 64 + static_cast<size_t>(std::min(i, 7) * 8 + std::min(j, 7))]);
        };
        const int i = static_cast<int>(at(y)), j = static_cast<int>(at(x));
        const double v = at(y) - i, u = at(x) - j;
        large.push_back(static_cast<float>((1 - v) * ((1 - u) * cell(i, j) + u * cell(i, j + 1)) +
                                           v * ((1 - u) * cell(i + 1, j) + u * cell(i + 1, j + 1))));
      }
    }
  }
  CHECK(explanation.map.shape() == Shape{8, 32, 32});
  CHECK(distance(device.values(explanation.map), large) < 1e-6);

  std::vector<float> positive = raw;
  for (float& value : positive) value = std::max(value, 0.0f);
  CHECK(positive != raw);
  CHECK(device.values(explain(session, "gradcam", {{"relu", true}}, images, targets).raw) == positive);
}

TEST_CASE("GradCAM before and after a folded batch norm is that of the unfolded network") {
  TestDevice device;
  const Backbone backbone = build_backbone("cifar_resnet20", {1, 32, 32});
  const Parameters parameters = test::formula_parameters(backbone.graph);
  const std::vector<Head> heads = test::small_heads({"a", "b"}, {1, 8, 8, 64}, 10);
  Session folded(fold_norms(backbone.graph, parameters), heads, device.kernels());
  Session whole(test::unfolded(backbone.graph, test::formula_parameters(backbone.graph)), heads, device.kernels());
  REQUIRE(folded.folded_bias().size() == 19);
  const Tensor images = device.tensor({2, 32, 32, 3}, test::formula_images(2, 32));
  const std::vector<int> targets = {7, 1, 2, 2};
  std::map<std::string, std::vector<float>> maps;
  for (const char* layer : {"layer3.2.conv2", "layer3.2.bn2", "layer2.1.conv1", "layer2.1.bn1", "layer2.1.relu1",
                            "conv1", "bn1", "layer2.0.add", "layer2.0"}) {
    CAPTURE(layer);
    maps[layer] = device.values(explain(folded, "gradcam", {{"layer", layer}}, images, targets).raw);
    const Explanation want = explain(whole, "gradcam", {{"layer", layer}}, images, targets);
    CHECK(distance(maps[layer], device.values(want.raw)) < 2e-5);
  }
  CHECK(distance(maps["layer3.2.conv2"], maps["layer3.2.bn2"]) > 0.01);
  CHECK(distance(maps["layer2.1.bn1"], maps["layer2.1.relu1"]) > 0.01);
}

TEST_CASE("Guided Backpropagation of two layers is its definition") {
  TestDevice device;
  Graph graph;
  Value x = test::start_backbone(graph, 1);  // one pixel: convolutions are matrices
  x = relu(graph, test::conv(graph, x, "conv1", 7, 1, true), "relu1");
  x = relu(graph, test::conv(graph, x, "conv2", 6, 1, true), "relu2");
  graph.alias("features", x);
  const Folded net = test::unfolded(graph, test::formula_parameters(graph));
  const std::vector<Head> heads = test::small_heads({"a"}, {1, 1, 1, 6}, 4);
  Session session(net, heads, device.kernels());
  const Tensor image = device.tensor({1, 1, 1, 3}, {0.9f, 0.1f, 0.6f});
  const std::vector<float> input = model_input(session, device, image);
  const std::vector<float> w1 = values_at(net.parameters, "conv1.weight"), b1 = values_at(net.parameters, "conv1.bias"),
                           w2 = values_at(net.parameters, "conv2.weight"), b2 = values_at(net.parameters, "conv2.bias"),
                           w3 = values_at(heads[0].parameters, "head.weight");
  const auto layer = [](const std::vector<float>& w, const std::vector<float>& b, const std::vector<double>& in) {
    std::vector<double> out;
    for (size_t j = 0; j < b.size(); ++j) {
      double z = b[j];
      for (size_t i = 0; i < in.size(); ++i) z += static_cast<double>(w[j * in.size() + i]) * in[i];
      out.push_back(z);
    }
    return out;
  };
  const auto positive = [](std::vector<double> z) {
    for (double& value : z) value = std::max(value, 0.0);
    return z;
  };
  const auto transposed = [](const std::vector<float>& w, const std::vector<double>& out, size_t inputs) {
    std::vector<double> in(inputs, 0);
    for (size_t j = 0; j < out.size(); ++j) {
      for (size_t i = 0; i < inputs; ++i) in[i] += static_cast<double>(w[j * inputs + i]) * out[j];
    }
    return in;
  };
  // At a ReLU: the positive part of what arrives, where the ReLU was open.
  const auto guided = [](std::vector<double> message, const std::vector<double>& z) {
    for (size_t i = 0; i < z.size(); ++i) message[i] = z[i] > 0 ? std::max(message[i], 0.0) : 0;
    return message;
  };
  const std::vector<double> z1 = layer(w1, b1, {input.begin(), input.end()}), z2 = layer(w2, b2, positive(z1));
  std::vector<float> want;
  const std::vector<int> targets = {0, 1, 2, 3};
  for (int target : targets) {
    const std::vector<double> seed(w3.begin() + 6 * target, w3.begin() + 6 * target + 6);
    const std::vector<double> m = transposed(w1, guided(transposed(w2, guided(seed, z2), 7), z1), 3);
    want.insert(want.end(), m.begin(), m.end());
  }
  CHECK(distance(device.values(explain(session, "guided_backprop", {}, image, targets).raw), want) < 1e-5);
  CHECK(distance(device.values(explain(session, "gradient", {}, image, targets).raw), want) > 0.01);
}

TEST_CASE("the gradient is that of finite differences") {
  TestDevice device;
  Graph graph;
  Value x = test::start_backbone(graph, 5);
  x = graph.add(std::make_shared<ActivationOp>(OpKind::tanh), {test::conv(graph, x, "conv1", 6, 3, true)}, "t1");
  graph.alias("features", x);
  Session session(test::unfolded(graph, test::formula_parameters(graph)), test::small_heads({"a"}, {1, 5, 5, 6}, 3),
                  device.kernels());
  const Tensor image = device.tensor({1, 5, 5, 3}, test::formula_images(1, 5));
  const std::vector<float> input = model_input(session, device, image);
  constexpr float step = 1e-2f;
  std::vector<float> moved;
  for (size_t i = 0; i < 75; ++i) {
    for (float sign : {1.0f, -1.0f}) {
      moved.insert(moved.end(), input.begin(), input.end());
      moved[moved.size() - 75 + i] += sign * step;
    }
  }
  const Pass pass = session.forward(device.tensor({150, 5, 5, 3}, moved), {"gradient", {}, {}}, Start::model_input);
  const std::vector<float> logits = session.logits(pass, 0);
  std::vector<float> want;
  for (size_t i = 0; i < 75; ++i) want.push_back((logits[6 * i + 2] - logits[6 * i + 5]) / (2 * step));
  const std::vector<int> target = {2};
  CHECK(distance(device.values(explain(session, "gradient", {}, image, target).raw), want) < 1e-3);
}

TEST_CASE("LRP conserves relevance without biases; copying residuals doubles it") {
  TestDevice device;
  Session session(test::block_without_biases(8), test::small_heads({"a", "b"}, {1, 8, 8, 6}, 4, false),
                  device.kernels());
  const Tensor images = device.tensor({2, 8, 8, 3}, test::formula_images(2, 8));
  const std::vector<int> targets = {0, 3, 2, 1};
  const Explanation norm = explain(session, "lrp", {}, images, targets, {{"relu1"}, true});
  for (const Conservation::Cut& cut : norm.conservation->cuts) {
    CAPTURE(cut.node);
    CHECK(norm.conservation->error(cut) < 1e-3);
  }
  CHECK(norm.trace.defaults().empty());
  const Explanation copy = explain(session, "lrp", {{"residual", "copy"}}, images, targets, {{}, true});
  for (const Conservation::Cut& cut : copy.conservation->cuts) {
    CAPTURE(cut.node);
    const double factor = cut.node == "block" || cut.node == "add" ? 1 : 2;
    for (size_t row = 0; row < cut.sums.size(); ++row) {
      CHECK(cut.sums[row] == doctest::Approx(factor * copy.logits[row]).epsilon(1e-3));
    }
  }
  CHECK(distance(device.values(copy.map), device.values(norm.map)) > 0.1);
}

TEST_CASE("LRP may start at 1 or |logit|, with a warning") {
  TestDevice device;
  Session session(test::small_resnet(), test::small_heads({"a"}, {1, 8, 8, 64}, 10), device.kernels());
  const Tensor images = device.tensor({1, 32, 32, 3}, test::formula_images(1, 32));
  std::vector<int> targets(10);
  std::iota(targets.begin(), targets.end(), 0);
  const Explanation logit = explain(session, "lrp", {}, images, targets);
  const auto negative = std::count_if(logit.logits.begin(), logit.logits.end(), [](float o) { return o < 0; });
  REQUIRE(negative > 0);
  REQUIRE(negative < 10);
  CHECK(logit.negative_logits == doctest::Approx(static_cast<double>(negative) / 10));
  CHECK(logit.warnings.empty());
  const Explanation one = explain(session, "lrp", {{"start", "one"}}, images, targets);
  const Explanation magnitude = explain(session, "lrp", {{"start", "abs"}}, images, targets);
  REQUIRE(one.warnings.size() == 1);
  REQUIRE(magnitude.warnings.size() == 1);
  std::vector<float> as_one = device.values(logit.map), as_magnitude = as_one;
  for (size_t i = 0; i < as_one.size(); ++i) {
    as_one[i] /= logit.logits[i / 1024];
    if (logit.logits[i / 1024] < 0) as_magnitude[i] = -as_magnitude[i];
  }
  CHECK(distance(device.values(one.map), as_one) < 1e-5);
  CHECK(distance(device.values(magnitude.map), as_magnitude) < 1e-6);
}

TEST_CASE("relevance of several heads and targets stacks like gradients") {
  TestDevice device;
  const Folded backbone = test::small_resnet();
  const std::vector<Head> heads = test::small_heads({"a", "b"}, {1, 8, 8, 64}, 10);
  const Tensor images = device.tensor({2, 32, 32, 3}, test::formula_images(2, 32));
  const std::vector<int> targets = {3, 4, 9, 0, 1, 1};
  for (const char* residual : {"norm", "copy"}) {
    CAPTURE(residual);
    Session together(backbone, heads, device.kernels(), 2000000);
    const std::vector<float> all =
        device.values(explain(together, "lrp", {{"residual", residual}}, images, targets).map);
    for (size_t h = 0; h < 2; ++h) {
      Session alone(backbone, std::span(heads).subspan(h, 1), device.kernels());
      for (size_t t = 0; t < 3; ++t) {
        const std::vector<int> own = {targets[2 * t], targets[2 * t + 1]};
        const Explanation one = explain(alone, "lrp", {{"residual", residual}}, images, own);
        CHECK(distance(std::span(all).subspan((h * 3 + t) * 2048, 2048), device.values(one.map)) < 1e-6);
      }
    }
  }
}

TEST_CASE("a network without ReLUs makes Guided Backpropagation say so") {
  TestDevice device;
  Graph graph;
  graph.alias("features", test::conv(graph, test::start_backbone(graph, 4), "conv1", 4, 3, false));
  Session session(test::unfolded(graph, test::formula_parameters(graph)), test::small_heads({"a"}, {1, 4, 4, 4}, 3),
                  device.kernels());
  const Tensor image = device.tensor({1, 4, 4, 3}, test::formula_images(1, 4));
  const std::vector<int> target = {1};
  CHECK(explain(session, "guided_backprop", {}, image, target).warnings.size() == 1);
}

TEST_CASE("unknown methods and options are named") {
  CHECK_THROWS_WITH_AS(make_attribution("gradcan", {}),
                       "[method] unknown attribution method; got 'gradcan'; expected one of attention_rollout, bcos, "
                       "chefer, gradcam, gradient, guided_backprop, intgrad, ixg, lrp, raw_attention",
                       Error);
  CHECK_THROWS_WITH_AS(make_attribution("gradcam", {{"layr", "conv1"}}),
                       doctest::Contains("[gradcam] unknown option; got 'layr'; expected one of layer, relu"), Error);
  CHECK_THROWS_WITH_AS(make_attribution("ixg", {{"nodes", 3}}), "[ixg] unknown option; got 'nodes'; expected none",
                       Error);
  CHECK_THROWS_WITH_AS(make_attribution("intgrad", {{"nodes", 0}}), doctest::Contains("got 0; expected 1 to 1000"),
                       Error);
  CHECK_THROWS_WITH_AS(make_attribution("intgrad", {{"nodes", "ten"}}), doctest::Contains("got \"ten\""), Error);
  CHECK_THROWS_WITH_AS(make_attribution("lrp", {{"start", "two"}}),
                       doctest::Contains("got \"two\"; expected one of logit, one, abs"), Error);
  CHECK_THROWS_AS(make_attribution("lrp", {{"composite", "epsilon_gama_box"}}), Error);
  CHECK_THROWS_AS(make_attribution("lrp", {{"composite", {{"residual", "norm"}}}, {"residual", "copy"}}), Error);
  CHECK_THROWS_WITH_AS(make_attribution("gradcam", json::array()), doctest::Contains("got array"), Error);
}

}  // namespace
}  // namespace hp
