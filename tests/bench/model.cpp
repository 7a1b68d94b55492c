#include "tests/bench/model.h"

#include <nlohmann/json.hpp>

#include "models/backbone.h"
#include "runtime/error.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/safetensors.h"
#include "tests/attribution/networks.h"

namespace hp::bench {

namespace {

constexpr int64_t class_count = 1000;
constexpr const char* normalisation = R"({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})";

}  // namespace

Model formula_model(const std::string& architecture) {
  const Backbone backbone = build_backbone(architecture, {1, 64, 64});
  const bool bottleneck = !backbone.graph.match("layer1.0.conv3").empty();
  Model model{architecture, test::formula_parameters(backbone.graph, bottleneck)};
  const std::vector<int64_t> shape = {class_count, backbone.channels()};
  model.parameters.set("head.weight", Tensor::host({shape[0], shape[1]}, golden::parameter("fc.weight", shape, false)));
  model.parameters.set("head.bias", Tensor::host({shape[0]}, golden::parameter("fc.bias", {shape[0]}, false)));
  model.parameters.metadata = {{"architecture", architecture}, {"preprocessing", normalisation}};
  return model;
}

Model load_model(const std::filesystem::path& path) {
  Model model{"", load_safetensors(path)};
  try {
    model.architecture = model.parameters.metadata.at("architecture");
    const nlohmann::json json = nlohmann::json::parse(model.parameters.metadata.at("preprocessing"));
    set_normalisation(model.parameters, json.at("mean"), json.at("std"));
  } catch (const std::exception& error) {
    fail("[bench] {} is no converted backbone; got {}; expected a file of convert-weights", path.string(),
         error.what());
  }
  const bool fits = model.parameters.contains("head.weight") && model.parameters.contains("head.bias");
  require(fits, "[bench] {} has no classifier; got no head.weight and head.bias; expected a torchvision ResNet",
          path.string());
  return model;
}

void save_model(const std::filesystem::path& path, const Model& model) {
  Parameters file;
  for (const std::string& name : model.parameters.names()) {
    if (!name.starts_with("model_input.")) file.set(name, model.parameters.at(name));
  }
  file.metadata = model.parameters.metadata;
  save_safetensors(path, file);
}

Folded folded_backbone(const Model& model, int64_t size) {
  return fold_batch_norm(build_backbone(model.architecture, {1, size, size}).graph, model.parameters);
}

Head classifier(const Model& model, const Folded& backbone, int index) {
  const Shape features = backbone.graph.node(backbone.graph.find("features")).shape;
  const Tensor& weight = model.parameters.at("head.weight");
  const int64_t classes = weight.shape()[0], channels = features[-1];
  Head head{fmt::format("probe{}", index), {}, {}};
  Graph& graph = head.graph;
  Value x = graph.input("features", features, true);
  x = graph.add(std::make_shared<AvgPoolOp>(), {x}, "avgpool");
  x = graph.add(std::make_shared<ReshapeOp>(Shape{channels}), {x}, "flatten");
  const Value weights = graph.parameter("fc.weight", {classes, channels});
  const Value bias = graph.parameter("fc.bias", {classes});
  graph.add(std::make_shared<LinearOp>(), {x, weights, bias}, "logits");
  Tensor turned = Tensor::host({classes, channels});
  for (int64_t row = 0; row < classes; ++row) {
    const float* from = weight.floats() + (row + 7 * index) % classes * channels;
    std::copy(from, from + channels, turned.floats() + row * channels);
  }
  head.parameters.set("fc.weight", turned);
  head.parameters.set("fc.bias", model.parameters.at("head.bias"));
  return head;
}

Tensor formula_image(int64_t batch, int64_t size) {
  return Tensor::host({batch, size, size, 3}, test::formula_images(batch, size));
}

}  // namespace hp::bench
