#include "models/resnet.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "kernels/cpu/cpu_kernels.h"
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
    const Folded folded = fold_batch_norm(graph, parameters);
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
  const Folded folded = fold_batch_norm(graph, formula_parameters(graph));
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
