#include "models/resnet.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "kernels/cpu/cpu_kernels.h"
#include "models/name.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/fold.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/shape_ops.h"
#include "tests/places.h"
#include "tests/support/small_nets.h"
#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/conversion.h"

using namespace hp;
using testing::formula_parameters;
using testing::relative_error;

namespace {

// Number of trained elements: everything but running statistics and the normalisation.
int64_t trained(const Graph& graph) {
  int64_t count = 0;
  for (const Node& node : graph.nodes()) {
    if (node.kind != OpKind::parameter || node.name.ends_with("running_mean") || node.name.ends_with("running_var"))
      continue;
    if (!node.name.starts_with("model_input")) count += node.shape.count();
  }
  return count;
}

// x[c,h,w] = ((7c + 3h + 5w) mod 17) / 16, the image of protocol.md 9, here [1, 32, 32, 3].
Tensor formula_image() {
  Tensor image = Tensor::host({1, 32, 32, 3});
  for (int h = 0; h < 32; ++h) {
    for (int w = 0; w < 32; ++w) {
      for (int c = 0; c < 3; ++c)
        image.floats()[(h * 32 + w) * 3 + c] = static_cast<float>((7 * c + 3 * h + 5 * w) % 17) / 16.0f;
    }
  }
  return image;
}

// The converted network with its own classifier: logits [batch, classes].
Graph with_classifier(Backbone backbone, const Tensor& weight) {
  Graph& g = backbone.graph;
  Value x{backbone.features()};
  const int64_t channels = backbone.channels();
  x = g.add(std::make_shared<AvgPoolOp>(), {x}, "pool");
  x = g.add(std::make_shared<ReshapeOp>(Shape{channels}), {x}, "flat");
  const Value w = g.parameter("head.weight", weight.shape()), b = g.parameter("head.bias", {weight.shape()[0]});
  g.add(std::make_shared<LinearOp>(), {x, w, b}, "logits");
  return std::move(g);
}

}  // namespace

TEST_CASE("models: numbers of parameters and shapes of features are those of the papers") {
  CHECK(trained(build_backbone("resnet18", {1, 224, 224}).graph) == 11689512 - 513000);
  CHECK(trained(build_backbone("resnet34", {1, 224, 224}).graph) == 21797672 - 513000);
  CHECK(trained(build_backbone("resnet50", {1, 224, 224}).graph) == 25557032 - 2049000);
  CHECK(trained(build_backbone("resnet101", {1, 224, 224}).graph) == 44549160 - 2049000);
  CHECK(trained(build_backbone("resnet152", {1, 224, 224}).graph) == 60192808 - 2049000);
  CHECK(trained(build_backbone("cifar_resnet20", {1, 32, 32}).graph) == 269722 - 650);
  CHECK(trained(build_backbone("cifar_resnet56", {1, 32, 32}).graph) == 853018 - 650);
  CHECK(trained(build_backbone("cifar_resnet20_b", {1, 32, 32}).graph) == 269722 - 650 + 16 * 32 + 64 + 32 * 64 + 128);
  const Backbone r50 = build_backbone("resnet50", {2, 672, 448});
  CHECK(r50.graph.node(r50.features()).shape == Shape{2, 21, 14, 2048});
  CHECK(r50.features() == r50.graph.find("layer4.2"));
  const Backbone r56 = build_backbone("cifar_resnet56", {3, 96, 96});
  CHECK(r56.graph.node(r56.features()).shape == Shape{3, 24, 24, 64});
  CHECK_THROWS_WITH_AS(build_backbone("resnet51", {1, 224, 224}), doctest::Contains("resnet50"), Error);
}

TEST_CASE("models: B-cos ResNets have the reference's parameters, six input channels and no activation") {
  const auto count = [](const std::string& name) { return trained(build_backbone(name, {1, 224, 224}).graph); };
  CHECK(count("bcos_resnet50") == 25538880 - 2048 * 1000);
  // As torchvision's, with three channels more in the stem and one bias a norm less.
  const auto biases = [](const std::string& name) {
    int64_t sum = 0;
    const Graph graph = build_backbone(name, {1, 224, 224}).graph;
    for (const Node& node : graph.nodes())
      if (node.kind == OpKind::parameter && node.name.ends_with(".bias")) sum += node.shape.count();
    return sum;
  };
  for (const std::string name : {"resnet18", "resnet34", "resnet101", "resnet152"})
    CHECK(count("bcos_" + name) == count(name) + 3 * 64 * 49 - biases(name));
  const Backbone r18 = build_backbone("bcos_resnet18", {2, 96, 64});
  CHECK(r18.graph.node(r18.model_input()).shape == Shape{2, 96, 64, 6});
  CHECK(r18.graph.node(r18.features()).shape == Shape{2, 3, 2, 512});
  CHECK(r18.features() == r18.graph.find("layer4.1"));
  for (const Node& node : r18.graph.nodes()) CHECK(node.kind != OpKind::relu);
  const Backbone r20 = build_backbone("bcos_cifar_resnet20_w8", {1, 32, 32});
  CHECK(r20.graph.node(r20.features()).shape == Shape{1, 8, 8, 32});
}

TEST_CASE("models: CLIP's ResNets pool in front of every stride") {
  const Backbone trunk = build_backbone("clip_rn50_trunk", {1, 224, 224});
  CHECK(trunk.graph.node(trunk.features()).shape == Shape{1, 7, 7, 2048});
  // open_clip counts 38 316 896 with the attention pool.
  const Backbone whole = build_backbone("clip_rn50", {2, 224, 224});
  CHECK(trained(whole.graph) == 38316896);
  CHECK(trained(trunk.graph) == 38316896 - ((50 + 3 * 2048 + 1024) * 2048 + 3 * 2048 + 1024));
  CHECK(whole.graph.node(whole.features()).shape == Shape{2, 1, 1, 1024});
  CHECK(whole.native_side == 224);
  CHECK(build_backbone("clip_rn50_w8_r64_e24", {}).channels() == 24);
  CHECK(build_backbone("clip_rn50_w8_r64_e24", {1, 96, 64}).native_side == 64);
  CHECK_THROWS_WITH_AS(build_backbone("clip_rn50_r48", {}), doctest::Contains("multiple of 32"), Error);
  CHECK(trunk.graph.node(trunk.graph.find("layer2.0.avgpool")).shape == Shape{1, 28, 28, 128});
}

TEST_CASE("models: names and their settings") {
  const ModelName name = parse_model_name("vit_ti_16_w24_d2_r32");
  CHECK(name.base == "vit_ti_16");
  CHECK(name.get('w', 0) == 24);
  CHECK(name.get('d', 0) == 2);
  CHECK(name.get('r', 0) == 32);
  CHECK(name.get('h', 7) == 7);
  CHECK(parse_model_name("resnet18").base == "resnet18");
  CHECK(parse_model_name("cifar_resnet20_b").base == "cifar_resnet20_b");
  CHECK(parse_model_name("a_w12345").base == "a_w12345");
  CHECK(parse_model_name("_w4").base == "");
  CHECK(parse_model_name("a_w4_w8").base == "a_w4");
  CHECK(with_setting("a", 'w', 8, 64) == "a_w8");
  CHECK(with_setting("a", 'w', 64, 64) == "a");
  for (const char* wrong : {"resnet18_w6", "resnet18_w0", "resnet18_w2048", "resnet18_d3"})
    CHECK_THROWS_WITH_AS(build_backbone(wrong, {}), doctest::Contains("[models] un"), Error);
}

TEST_CASE("models: an architecture is read off names and shapes") {
  for (const std::string name :
       {"resnet18", "resnet50_w32", "cifar_resnet20", "cifar_resnet20_b", "small_resnet10", "bcos_resnet101",
        "bcos_cifar_resnet44_w4", "clip_rn101_trunk_w16", "clip_rn50", "clip_rn50x16", "clip_rn101_w8_r64_e32"}) {
    std::map<std::string, Shape> tensors;
    const Graph graph = build_backbone(name, {}).graph;
    for (const Node& node : graph.nodes())
      if (node.kind == OpKind::parameter) tensors[node.name] = node.shape;
    CHECK(architectures_of(tensors) == std::vector<std::string>{name});
  }
  CHECK(architectures_of({}).empty());
  CHECK(architectures_of({{"conv1.weight", {64, 3, 7, 7}}, {"layer1.0.conv1.weight", {}}}).empty());
  CHECK(architectures_of({{"conv1.weight", {64, 3, 7, 7}}, {"layer1.0.conv1.weight", {63, 3, 7, 7}}}).empty());
}

TEST_CASE("models: the trained CIFAR checkpoints give the published logits") {
  const std::filesystem::path folder = hp::test::shared_folder() / "data/checkpoints";
  const std::vector<std::pair<std::string, std::vector<float>>> golden = {
      {"resnet20-12fca82f.th",
       {-6.37279f, -5.27717f, 5.01398f, -.77378f, 5.49074f, -3.81339f, 16.98807f, -8.48106f, .36152f, -3.0988f}},
      {"resnet56-4bfd9763.th",
       {-4.18104f, -1.73119f, 4.05492f, 3.49753f, -.19456f, .57392f, 4.60094f, -2.35468f, -2.27828f, -1.97521f}}};
  CpuKernels kernels;
  for (const auto& [file, want] : golden) {
    if (!std::filesystem::exists(folder / file)) {
      MESSAGE("skipped: " << file << " is not here");
      continue;
    }
    const Checkpoint checkpoint = read_checkpoint(folder / file);
    Parameters parameters = convert(checkpoint, plan_conversion(checkpoint, {}), folder / file);
    set_normalisation(parameters, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f});
    const Graph graph = with_classifier(build_backbone(parameters.metadata.at("architecture"), {1, 32, 32}),
                                        parameters.at("head.weight"));
    const Folded folded = fold_norms(graph, parameters);
    for (const Keep keep : {Keep::outputs, Keep::everything}) {
      Executor executor(folded.graph, folded.parameters, kernels, keep);
      const Activations pass = executor.run(formula_image());
      const float* logits = pass.value(folded.graph.find("logits")).floats();
      for (size_t i = 0; i < 10; ++i) CHECK(std::abs(logits[i] - want[i]) < 1e-4f);
    }
  }
}

TEST_CASE("models: an image gives the same features alone and in a batch") {
  CpuKernels kernels;
  const Graph graph = build_backbone("cifar_resnet20", {4, 32, 32}).graph;
  const Folded folded = fold_norms(graph, formula_parameters(graph));
  const Tensor images = testing::formula_tensor("images", {4, 32, 32, 3}, 0.5f, 0.5f);
  const Graph single = folded.graph.with_batch(1);
  Executor four(folded.graph, folded.parameters, kernels, Keep::outputs),
      one(single, folded.parameters, kernels, Keep::outputs);
  const Tensor together = four.run(images).value(folded.graph.find("features"));
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(relative_error(one.run(images.rows(i, i + 1)).value(single.find("features")), together.rows(i, i + 1)) <
          1e-6);
  }
}
