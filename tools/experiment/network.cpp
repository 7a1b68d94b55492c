#include "tools/experiment/network.h"

#include "probes/digest.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "runtime/rule.h"
#include "runtime/safetensors.h"

namespace hp {

namespace {

std::string metadata_of(const Parameters& parameters, const std::string& key, const std::filesystem::path& file) {
  auto found = parameters.metadata.find(key);
  require(found != parameters.metadata.end(),
          "[experiment] {} says nothing of its {}; got a file not made by convert-weights; expected a "
          "converted checkpoint",
          file.string(), key);
  return found->second;
}

void set_input_statistics(Parameters& weights, const std::string& preprocessing, const std::filesystem::path& file) {
  try {
    const nlohmann::json json = nlohmann::json::parse(preprocessing);
    set_normalisation(weights, json.at("mean").get<std::vector<float>>(), json.at("std").get<std::vector<float>>());
  } catch (const nlohmann::json::exception& error) {
    fail("[experiment] {} has no usable mean and std; got {}; convert the checkpoint again", file.string(),
         preprocessing.substr(0, 80));
  }
}

ImageShape image_shape(const Preprocess& preprocess, const Dataset& images, int64_t batch) {
  if (const int side = preprocess.output_side(); side > 0) return {batch, side, side};
  for (int64_t i = 0; i < images.size(); ++i) {
    try {
      const Image image = apply(preprocess, images.load(i)).image;
      return {batch, image.height, image.width};
    } catch (const Error&) {
      continue;  // unreadable images are counted and named when the features are computed
    }
  }
  fail("[experiment] no image can be read; got {} files; expected pictures", images.size());
}

// Every tensor that the backbone asks for, with its shape: what comes next reads them without looking.
void check_tensors(const Graph& graph, const Parameters& weights, const std::filesystem::path& file) {
  for (const Node& node : graph.nodes()) {
    if (node.kind != OpKind::parameter) continue;
    require(weights.contains(node.name), "[experiment] {} lacks a tensor; got no {}; expected {} of {}", file.string(),
            node.name, node.name, node.shape.str());
    const Tensor& tensor = weights.at(node.name);
    require(tensor.shape() == node.shape && tensor.dtype() == DType::float32,
            "[experiment] {}: tensor {} does not fit; got {} of {}; expected float32 of {}", file.string(), node.name,
            name_of(tensor.dtype()), tensor.shape().str(), node.shape.str());
  }
}

// The network of weights in memory; `weights` names them in messages.
Network built(Parameters values, const std::filesystem::path& weights, const nlohmann::json& overrides,
              const std::function<ImageShape(const Preprocess&)>& shape_of, const std::string& features) {
  Network network;
  network.weights = std::move(values);
  network.architecture = metadata_of(network.weights, "architecture", weights);
  const std::string preprocessing = metadata_of(network.weights, "preprocessing", weights);
  network.preprocess = preprocess_of(preprocessing, overrides);
  set_input_statistics(network.weights, preprocessing, weights);
  network.shape = shape_of(network.preprocess);
  network.features = features;
  const Backbone backbone = [&] {
    try {
      return build_backbone(network.architecture, network.shape, features);
    } catch (const Error& error) {
      if (features == "auto") throw;
      fail("[experiment] /backbone/features: {}", error.what());
    }
  }();
  network.channels = backbone.channels();
  if (!backbone.graph.contains("model_input.mean")) {  // B-cos: the image and its inverse as they are
    const auto channels = static_cast<size_t>(backbone.graph.node(backbone.model_input()).shape[-1]);
    set_normalisation(network.weights, std::vector<float>(channels, 0.0F), std::vector<float>(channels, 1.0F));
  }
  check_tensors(backbone.graph, network.weights, weights);
  network.folded = fold_norms(backbone.graph, network.weights);
  return network;
}

}  // namespace

Shape Network::feature_shape() const {
  const Shape map = folded.graph.node(folded.graph.find("features")).shape;
  return {map[1], map[2], map[3]};
}

bool Network::nonnegative_features() const { return is_nonnegative(folded.graph, folded.graph.find("features")); }

Network load_network(const std::filesystem::path& weights, const nlohmann::json& overrides,
                     const std::function<ImageShape(const Preprocess&)>& shape_of, const std::string& features) {
  Network network = built(load_safetensors(weights), weights, overrides, shape_of, features);
  network.sha256 = sha256_of(MappedFile(weights).bytes());
  return network;
}

Network load_network(const Experiment& experiment, const Dataset& images) {
  const auto shape = [&](const Preprocess& preprocess) {
    return image_shape(preprocess, images, experiment.batch_size);
  };
  return load_network(experiment.weights, experiment.preprocess, shape, experiment.backbone_features);
}

Network make_network(Parameters weights, const Experiment& experiment, const Dataset& images) {
  return built(
      std::move(weights), experiment.weights, experiment.preprocess,
      [&](const Preprocess& preprocess) { return image_shape(preprocess, images, experiment.batch_size); },
      experiment.backbone_features);
}

FeatureExtractor::FeatureExtractor(const Network& network, Kernels& kernels)
    : network_(network), kernels_(kernels), parameters_(on_device(network.folded.parameters, kernels)) {}

SlicedExecutor& FeatureExtractor::executor_for(const Shape& shape) {
  require(shape[1] == network_.shape.height && shape[2] == network_.shape.width,
          "[experiment] images of the wrong size; got {}x{}; expected {}x{}: set data.preprocess", shape[2], shape[1],
          network_.shape.width, network_.shape.height);
  std::unique_ptr<SlicedExecutor>& executor = by_batch_[shape[0]];
  if (!executor) {
    executor =
        std::make_unique<SlicedExecutor>(network_.folded.graph.with_batch(shape[0]), parameters_, kernels_, "features");
  }
  return *executor;
}

Tensor FeatureExtractor::uploaded(const Tensor& images) {
  const Tensor input = executor_for(images.shape()).context().scratch.take(images.shape());
  kernels_.upload(images.floats(), images.bytes(), input.floats());
  return input;
}

Tensor FeatureExtractor::features(const Tensor& images) { return executor_for(images.shape()).run(images); }

}  // namespace hp
