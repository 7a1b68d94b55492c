// ResNet-18 at 224 x 224 with formula weights, end to end, against captum and zennit in double precision
// (tests/golden/README.md).
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "attribution/method.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/attribution/device.h"
#include "tests/attribution/networks.h"

namespace hp {
namespace {

using nlohmann::json;
using test::TestDevice;

class Golden {
 public:
  explicit Golden(const std::string& name)
      : file_(std::string(HP_SOURCE_DIR "/tests/golden/") + name + ".safetensors"),
        index_(json::parse(file_.metadata().at("golden"))) {}

  const json& index() const { return index_; }
  const json& entry(const std::string& name) const { return index_.at("entries").at(name); }
  bool contains(const std::string& name) const { return index_.at("entries").contains(name); }

  // ||got - want|| / ||want|| over the stored elements.
  double error(const std::string& name, std::span<const float> got) const {
    const size_t samples = entry(name).at("samples");
    const SafetensorsEntry* stored = file_.find(name);
    REQUIRE(stored != nullptr);
    std::vector<float> want(stored->bytes.size() / sizeof(float));
    std::memcpy(want.data(), stored->bytes.data(), stored->bytes.size());
    if (samples == 0) REQUIRE(want.size() == got.size());
    double off = 0, whole = 0;
    for (size_t k = 0; k < want.size(); ++k) {
      const size_t at = samples == 0 ? k : golden::sample_index(k, samples, got.size(), golden::fnv1a(name));
      off += std::pow(static_cast<double>(got[at]) - want[k], 2);
      whole += std::pow(static_cast<double>(want[k]), 2);
    }
    return std::sqrt(off / whole);
  }
  // The bound of the end-to-end tests: `plain`, or three times the reference's own float32 error where that is larger.
  double bound(const std::string& name, double plain) const {
    return std::max(plain, 3 * entry(name).at("group_float32_error").get<double>());
  }

 private:
  SafetensorsFile file_;
  json index_;
};

// torchvision's classifier: the pooled features times fc, as in the reference; its composites treat it as linear.
Head torchvision_head() {
  Head head{"fc", {}, {}};
  Value x = head.graph.input("features", {1, 7, 7, 512}, true);
  x = head.graph.add(std::make_shared<AvgPoolOp>(), {x}, "avgpool");
  x = head.graph.add(std::make_shared<ReshapeOp>(Shape{512}), {x}, "flatten");
  const Value w = head.graph.parameter("fc.weight", {1000, 512}), b = head.graph.parameter("fc.bias", {1000});
  head.graph.add(std::make_shared<LinearOp>(), {x, w, b}, "logits");
  head.parameters.set("fc.weight", Tensor::host({1000, 512}, golden::parameter("fc.weight", {1000, 512}, false)));
  head.parameters.set("fc.bias", Tensor::host({1000}, golden::parameter("fc.bias", {1000}, false)));
  return head;
}

// A session on the network with one batch per golden image, whose two targets are the predicted and the fixed class.
class GoldenSession {
 public:
  explicit GoldenSession(TestDevice& device) : device_(device) {
    const Backbone backbone = build_backbone("resnet18", {1, 224, 224});
    std::vector<Head> heads;
    heads.push_back(torchvision_head());
    session_ = std::make_unique<Session>(fold_batch_norm(backbone.graph, test::formula_parameters(backbone.graph)),
                                         heads, device.kernels());
  }
  Explanation explain(const Golden& golden, size_t image, const std::string& method, const json& options,
                      const Watch& watch = {}) {
    const json& picked = golden.index().at("images").at(image);
    const Tensor tensor = device_.tensor(
        {1, 224, 224, 3}, golden::image_tensor(picked.at("seed_name").get<std::string>(), 224 * 224 * 3));
    const int predicted = picked.at("predicted");
    return make_attribution(method, options)
        ->explain(*session_, tensor, std::vector<int>{predicted, predicted == 3 ? 4 : 3}, watch);
  }

 private:
  TestDevice& device_;
  std::unique_ptr<Session> session_;
};

// Both targets of a tensor [2, ...] against the golden entries image<I>/predicted/<what> and image<I>/fixed/<what>.
void check_both(const Golden& golden, size_t image, const std::string& what, const std::vector<float>& both,
                double plain) {
  for (size_t t = 0; t < 2; ++t) {
    const std::string name = fmt::format("image{}/{}/{}", image, t == 0 ? "predicted" : "fixed", what);
    CAPTURE(name);
    const double error = golden.error(name, std::span(both).subspan(t * both.size() / 2, both.size() / 2));
    CHECK(error < golden.bound(name, plain));
  }
}

TEST_CASE("gradient methods on ResNet-18 are captum's") {
  TestDevice device;
  const Golden golden("resnet18_gradients");
  GoldenSession session(device);
  const json before = {{"layer", golden.index().at("convolution")}}, after = {{"layer", golden.index().at("block")}};
  struct Case {
    const char *method, *raw, *map;
    json options;
  };
  const std::vector<Case> cases = {
      {"gradient", "gradient", nullptr, {}},
      {"ixg", "input_x_gradient", nullptr, {}},
      {"guided_backprop", "guided_backpropagation", nullptr, {}},
      {"intgrad", "integrated_gradients_16", nullptr, {{"nodes", 16}}},
      {"gradcam", "gradcam_convolution", "gradcam_convolution_upsampled", before},
      {"gradcam", "gradcam_block", "gradcam_block_upsampled", after},
  };
  for (size_t image = 0; image < golden.index().at("images").size(); ++image) {
    for (const Case& each : cases) {
      const Explanation explanation = session.explain(golden, image, each.method, each.options);
      check_both(golden, image, each.raw, device.values(explanation.raw), 1e-4);
      if (each.map) check_both(golden, image, each.map, device.values(explanation.map), 1e-4);
    }
  }
}

TEST_CASE("LRP on ResNet-18 is zennit's, at the input and in the layers") {
  TestDevice device;
  GoldenSession session(device);
  const std::vector<std::string> layers = {"relu",     "maxpool",  "layer1.0", "layer1.1", "layer2.0",
                                           "layer2.1", "layer3.0", "layer3.1", "layer4.0", "layer4.1"};
  for (const char* name :
       {"epsilon_gamma_box", "epsilon_gamma_box_copy", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat"}) {
    CAPTURE(name);
    const Golden golden(std::string("resnet18_lrp_") + name);
    json options = {{"composite", name}};
    if (std::string(name) == "epsilon_gamma_box_copy") options = {{"residual", "copy"}};
    for (size_t image = 0; image < golden.index().at("images").size(); ++image) {
      const Explanation explanation = session.explain(golden, image, "lrp", options, {layers, false});
      check_both(golden, image, "input", device.values(explanation.raw), 1e-3);
      check_both(golden, image, "input_map", device.values(explanation.map), 1e-3);
      for (const std::string& layer : layers) {
        check_both(golden, image, layer, device.values(explanation.layers.at(layer)), 1e-3);
      }
    }
  }
}

}  // namespace
}  // namespace hp
