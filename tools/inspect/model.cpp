#include "tools/inspect/model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"
#include "tools/data/image.h"
#include "tools/data/sample.h"

namespace hp {

namespace {

constexpr int64_t imagenet_side = 224, cifar_side = 32;

int64_t usual_side(const std::string& architecture) {
  return architecture.starts_with("cifar") ? cifar_side : imagenet_side;
}

Image preprocessed(const Preprocess& preprocess, const std::filesystem::path& file) {
  Sample sample;
  sample.image = decode_image(file);
  return apply(preprocess, std::move(sample)).image;
}

// What the probe was trained on: another choice of a vision transformer's features has other channels.
std::string features_of(const ModelChoice& choice) {
  if (choice.probe.empty()) return "auto";
  const Probe probe = Probe::load(choice.probe);
  const auto said = probe.provenance.find("backbone_features");
  return said == probe.provenance.end() ? "auto" : said->second;
}

// Shapes, rules and costs need no weights; folding needs some, and 0 will do.
Network without_weights(const std::string& architecture, int64_t side) {
  Network network;
  network.architecture = architecture;
  network.shape = {1, side, side};
  const Backbone backbone = build_backbone(architecture, network.shape);
  network.channels = backbone.channels();
  for (const Node& node : backbone.graph.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    const std::vector<float> zeros(static_cast<size_t>(node.shape.count()), 0.0F);
    network.weights.set(node.name, Tensor::host(node.shape, zeros));
  }
  network.folded = fold_norms(backbone.graph, network.weights);
  return network;
}

std::optional<Probe> classifier(const ModelChoice& choice, const Network& network) {
  if (!choice.probe.empty()) {
    Probe probe = Probe::load(choice.probe);
    require(probe.channels() == network.channels,
            "[inspect] probe {} does not fit {}; got {} channels; expected {}: the probe of another backbone?",
            choice.probe.string(), choice.model, probe.channels(), network.channels);
    return probe;
  }
  const char* weight = network.weights.contains("head.linear.weight") ? "head.linear.weight" : "head.weight";
  if (!network.weights.contains(weight)) return std::nullopt;
  ProbeSpec spec;
  spec.name = "classifier";
  return Probe::converted(spec, network.weights, network.channels,
                          numbered_classes(network.weights.at(weight).shape()[0]));
}

}  // namespace

InputBox Model::box() const {
  if (!has_weights) return {.low = {0}, .high = {1}};
  const auto values = [&](const char* name) {
    const Tensor& tensor = network.weights.at(name);
    return std::span<const float>(tensor.floats(), static_cast<size_t>(tensor.count()));
  };
  return normalised_box(values("model_input.mean"), values("model_input.variance"));
}

Model open_model(const ModelChoice& choice) {
  Model model;
  model.name = choice.model;
  const std::vector<std::string> architectures = known_architectures();
  if (std::find(architectures.begin(), architectures.end(), choice.model) != architectures.end()) {
    require(choice.probe.empty(),
            "[inspect] a probe needs a backbone with weights; got the architecture {}; expected "
            "a file made by convert-weights",
            choice.model);
    model.network = without_weights(choice.model, choice.side > 0 ? choice.side : usual_side(choice.model));
    return model;
  }
  const std::string near = nearest_word(choice.model, architectures);
  require(std::filesystem::exists(choice.model),
          "[inspect] no such model; got {}; expected a file made by convert-weights or an architecture ({})",
          printable(choice.model), near.empty() ? fmt::format("{}", fmt::join(architectures, ", ")) : near + "?");
  const auto shape_of = [&](const Preprocess& preprocess) -> ImageShape {
    if (choice.side > 0) return {1, choice.side, choice.side};
    if (!choice.image.empty()) {
      const Image image = preprocessed(preprocess, choice.image);
      return {1, image.height, image.width};
    }
    if (preprocess.output_side() > 0) return {1, preprocess.output_side(), preprocess.output_side()};
    const std::string architecture = SafetensorsFile(choice.model).metadata().at("architecture");
    return {1, usual_side(architecture), usual_side(architecture)};
  };
  model.network = load_network(choice.model, nlohmann::json::object(), shape_of, features_of(choice));
  model.has_weights = true;
  model.probe = classifier(choice, model.network);
  if (model.probe) {
    const Shape features = model.network.feature_shape();
    CpuKernels kernels;
    model.head =
        model.probe->head({1, features[0], features[1], features[2]}, model.network.nonnegative_features(), kernels)
            .graph;
  }
  return model;
}

Tensor load_image(const Model& model, const std::filesystem::path& image) {
  const Image picture = preprocessed(model.network.preprocess, image);
  require(picture.height == model.network.shape.height && picture.width == model.network.shape.width,
          "[inspect] {} has the wrong size; got {} x {} after preprocessing; expected {} x {}", image.string(),
          picture.width, picture.height, model.network.shape.width, model.network.shape.height);
  return to_float(std::span(&picture, 1));
}

CompositeSpec parse_composite(const std::string& text) {
  if (!text.starts_with('{')) return CompositeSpec::parse(text, "composite");
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  require(!json.is_discarded(),
          "[composite] not JSON; got {}; expected a name ({}) or an object as in an experiment file", printable(text),
          fmt::join(composite_names(), ", "));
  return CompositeSpec::parse(json, "composite");
}

}  // namespace hp
