#include "tests/golden/reference_network.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <openssl/evp.h>

#include <filesystem>

#include "runtime/ops/conv.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "tests/attribution/networks.h"
#include "tests/golden/formula.h"
#include "tests/places.h"
#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/conversion.h"
#include "tools/data/image.h"

namespace hp::golden {

namespace {

const std::filesystem::path& data_folder() {
  static const std::filesystem::path folder = hp::test::shared_folder() / "data";
  return folder;
}

std::optional<ReferenceNetwork> trained_network(const std::string& name, const std::string& file) {
  const std::filesystem::path path = data_folder() / "checkpoints" / file;
  if (!std::filesystem::exists(path) || !std::filesystem::exists(data_folder() / "cifar10-jpeg")) {
    MESSAGE("skipped: " << file << " or cifar10-jpeg is not here");
    return std::nullopt;
  }
  const Checkpoint checkpoint = read_checkpoint(path);
  ReferenceNetwork network{name, build_backbone("cifar_" + name, {1, 32, 32}), "linear", "head", 10, {}};
  network.parameters = convert(checkpoint, plan_conversion(checkpoint, {}), path);
  set_normalisation(network.parameters, {mean.begin(), mean.end()},
                    {standard_deviation.begin(), standard_deviation.end()});
  return network;
}

ReferenceNetwork formula_network(const std::string& name) {
  ReferenceNetwork network{name, build_backbone(name, {1, 224, 224}), "fc", "fc", 1000, {}};
  network.parameters = test::formula_parameters(network.with_classifier(), name == "resnet50");
  return network;
}

std::string sha256_of(const std::vector<uint8_t>& bytes) {
  std::array<uint8_t, 32> digest{};
  REQUIRE(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  std::string text;
  for (const uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

Tensor picture(const nlohmann::json& source) {
  const Image image = decode_image(data_folder() / "cifar10-jpeg" / source.at("file").get<std::string>());
  REQUIRE(sha256_of(image.pixels) == source.at("rgb_sha256").get<std::string>());
  return to_float(std::span(&image, 1));
}

Tensor formula_picture(const nlohmann::json& source) {
  const Shape shape{1, 224, 224, 3};
  return Tensor::host(shape,
                      image_tensor(source.at("seed_name").get<std::string>(), static_cast<size_t>(shape.count())));
}

}  // namespace

Value ReferenceNetwork::append_classifier(Graph& graph, Value x) const {
  const int64_t channels = graph.shape(x)[-1];
  x = graph.add(std::make_shared<AvgPoolOp>(), {x}, "avgpool");
  x = graph.add(std::make_shared<ReshapeOp>(Shape{channels}), {x}, "flatten");
  const Value weight = graph.parameter(weights + ".weight", {classes, channels});
  const Value bias = graph.parameter(weights + ".bias", {classes});
  return graph.add(std::make_shared<LinearOp>(), {x, weight, bias}, classifier);
}

Graph ReferenceNetwork::with_classifier() const {
  Graph graph = backbone.graph;
  append_classifier(graph, {backbone.features()});
  return graph;
}

Head ReferenceNetwork::head() const {
  Head head{classifier, {}, {}};
  const Value features = head.graph.input("features", backbone.graph.node(backbone.features()).shape, true);
  head.graph.alias("logits", append_classifier(head.graph, features));
  for (const char* end : {".weight", ".bias"}) head.parameters.set(weights + end, parameters.at(weights + end));
  return head;
}

std::optional<ReferenceNetwork> reference_network(const std::string& name) {
  if (name == "resnet20") return trained_network(name, "resnet20-12fca82f.th");
  if (name == "resnet56") return trained_network(name, "resnet56-4bfd9763.th");
  return formula_network(name);
}

Tensor golden_images(const GoldenFile& file) {
  const nlohmann::json& sources = file.header().at("images");
  Tensor images;
  for (size_t i = 0; i < sources.size(); ++i) {
    const Tensor image = sources[i].contains("file") ? picture(sources[i]) : formula_picture(sources[i]);
    const auto row = static_cast<int64_t>(i);
    if (images.empty()) images = Tensor::host(image.shape().with(0, static_cast<int64_t>(sources.size())));
    std::copy_n(image.floats(), image.count(), images.rows(row, row + 1).floats());
  }
  return images;
}

}  // namespace hp::golden
