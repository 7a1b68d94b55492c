#include "tests/bench/model.h"

#include <nlohmann/json.hpp>

#include "kernels/cpu/cpu_kernels.h"
#include "models/backbone.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/safetensors.h"
#include "runtime/training_form.h"
#include "tests/attribution/networks.h"

namespace hp::bench {

namespace {

constexpr int64_t class_count = 1000;
constexpr const char* normalisation = R"({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})";
constexpr const char* no_normalisation = R"({"mean": [0, 0, 0], "std": [1, 1, 1]})";

// Uncentred running variances, from a formula image.
void measure_variances(const Graph& graph, int64_t side, Parameters& parameters) {
  const TrainingForm form = training_form(graph);
  CpuKernels kernels;
  Executor executor(form.graph, parameters, kernels, Keep::everything);
  const Activations activations = executor.run(formula_image(1, side));
  for (const BatchNormInTraining& norm : form.norms) {
    const Tensor& saved = activations.saved(norm.node);  // [2, channels]
    const int64_t channels = saved.shape()[1];
    parameters.set(norm.variance, Tensor::host({channels}, std::span<const float>(saved.floats() + channels,
                                                                                  static_cast<size_t>(channels))));
  }
}

// A classifier of 1000 classes by formula.
void add_classifier(Model& model, int64_t channels) {
  const std::vector<int64_t> shape = {class_count, channels};
  const Tensor weight = Tensor::host({shape[0], shape[1]}, golden::parameter("fc.weight", shape, false));
  if (model.is_bcos()) {
    model.parameters.set("head.linear.weight", weight);
  } else {
    model.parameters.set("head.weight", weight);
    model.parameters.set("head.bias", Tensor::host({shape[0]}, golden::parameter("fc.bias", {shape[0]}, false)));
  }
}

// Pooled features [batch, channels] of a head's graph.
Value pooled(Graph& graph, const Shape& features, bool nonnegative, const std::string& name) {
  Value x = graph.input("features", features, nonnegative);
  x = graph.add(std::make_shared<AvgPoolOp>(), {x}, "avgpool");
  return graph.add(std::make_shared<ReshapeOp>(Shape{features[-1]}), {x}, name);
}

}  // namespace

Model formula_model(const std::string& architecture) {
  constexpr int64_t side = 64;
  const Backbone backbone = build_backbone(architecture, {1, side, side});
  const bool bottleneck = !backbone.graph.match("layer1.0.conv3").empty();
  Model model{architecture, test::formula_parameters(backbone.graph, bottleneck)};
  if (model.is_bcos()) measure_variances(backbone.graph, side, model.parameters);
  add_classifier(model, backbone.channels());
  model.parameters.metadata = {{"architecture", architecture},
                               {"preprocessing", model.is_bcos() ? no_normalisation : normalisation}};
  return model;
}

Model load_model(const std::filesystem::path& path) {
  Model model{"", load_safetensors(path)};
  try {
    model.architecture = model.parameters.metadata.at("architecture");
    const nlohmann::json json = nlohmann::json::parse(model.parameters.metadata.at("preprocessing"));
    if (!model.is_bcos()) set_normalisation(model.parameters, json.at("mean"), json.at("std"));
  } catch (const std::exception& error) {
    fail("[bench] {} is no converted backbone; got {}; expected a file of convert-weights", path.string(),
         error.what());
  }
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
  return fold_norms(build_backbone(model.architecture, {1, size, size}).graph, model.parameters);
}

Head classifier(const Model& model, const Folded& backbone, int index, Kernels& kernels) {
  const int node = backbone.graph.find("features");
  const Shape features = backbone.graph.node(node).shape;
  const bool nonnegative = is_nonnegative(backbone.graph, node);
  const std::string name = fmt::format("probe{}", index);
  const int64_t channels = features[-1];
  if (model.parameters.contains("head.linear.weight")) {
    const int64_t classes = model.parameters.at("head.linear.weight").shape()[0];
    return Probe::converted({name}, model.parameters, channels, numbered_classes(classes))
        .head(features, nonnegative, kernels);
  }
  Head head{name, {}, {}};
  Graph& graph = head.graph;
  if (!model.parameters.contains("head.weight")) {
    pooled(graph, features, nonnegative, "logits");
    return head;
  }
  const Tensor& weight = model.parameters.at("head.weight");
  const int64_t classes = weight.shape()[0];
  const Value x = pooled(graph, features, nonnegative, "flatten");
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
