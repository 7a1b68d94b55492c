#include "models/vit.h"

#include <doctest/doctest.h>

#include "kernels/cpu/cpu_kernels.h"
#include "models/backbone.h"
#include "models/vit_registry.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/subgraph.h"
#include "tests/support/small_nets.h"

using namespace hp;
using testing::formula_parameters;

namespace {

int64_t trained(const Graph& graph) {
  int64_t count = 0;
  for (const Node& node : graph.nodes())
    if (node.kind == OpKind::parameter && !node.name.starts_with("model_input")) count += node.shape.count();
  return count;
}

int64_t trained(const std::string& architecture) { return trained(build_backbone(architecture, {}).graph); }

std::map<std::string, Shape> tensors_of(const std::string& architecture) {
  std::map<std::string, Shape> tensors;
  const Backbone backbone = build_backbone(architecture, {1, 224, 224});
  for (const Node& node : backbone.graph.nodes())
    if (node.kind == OpKind::parameter && !node.name.starts_with("model_input")) tensors[node.name] = node.shape;
  return tensors;
}

Shape features_of(const std::string& architecture, ImageShape image, const std::string& features) {
  const Backbone backbone = build_backbone(architecture, image, features);
  return backbone.graph.node(backbone.features()).shape;
}

std::string refusal(const std::string& architecture, ImageShape image, const std::string& features) {
  try {
    build_backbone(architecture, image, features);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

Tensor formula_images(const Shape& shape) {
  Tensor images = Tensor::host(shape);
  for (int64_t i = 0; i < images.count(); ++i) images.floats()[i] = static_cast<float>((7 * i) % 23) / 22.0f;
  return images;
}

std::vector<float> features_of(const Graph& graph, const Parameters& parameters, const Tensor& images) {
  CpuKernels kernels;
  Executor executor(graph, parameters, kernels, Keep::outputs);
  const Tensor value = executor.run(images).value(graph.find("features"));
  return {value.floats(), value.floats() + value.count()};
}

}  // namespace

TEST_CASE("ViT: numbers of parameters are those of the libraries") {
  CHECK(trained("vit_b_16") == 86567656 - 769000);  // torchvision
  CHECK(trained("vit_b_32") == 88224232 - 769000);
  CHECK(trained("vit_l_16") == 304326632 - 1025000);
  CHECK(trained("vit_b_16_r384") == 86859496 - 769000);  // torchvision, SWAG end to end
  CHECK(trained("vit_ti_16") == 5717416 - 193000);       // timm
  CHECK(trained("dino_vits8") == 21670272);              // DINO
  CHECK(trained("dino_vits16") == 21665664);
  CHECK(trained("dino_vitb16") == 85798656);
  CHECK(trained("clip_vit_b_32") == 87849216);  // CLIP, the visual tower
  CHECK(trained("clip_vit_b_16") == 86192640);
  CHECK(trained("clip_vit_l_14") == 303966208);
}

TEST_CASE("ViT: what probes see") {
  const ImageShape image{2, 32, 48};
  const std::string vit = "vit_ti_8_w24_d1_h3_r32", clip = "clip_vit_b_32_w24_d1_h3_p8_r32_e12",
                    simple = "bcos_simple_vit_ti_w24_d1_h3_p8", stem = "vitc_ti_w24_d1_h3";
  CHECK(features_of(vit, image, "") == Shape{2, 1, 1, 24});
  CHECK(features_of(vit, image, "cls") == Shape{2, 1, 1, 24});
  CHECK(features_of(vit, image, "tokens") == Shape{2, 4, 6, 24});
  CHECK(features_of(vit, image, "cls+mean") == Shape{2, 1, 1, 48});
  CHECK(features_of(vit, image, "mean") == Shape{2, 1, 1, 24});
  CHECK(features_of(clip, image, "auto") == Shape{2, 1, 1, 12});
  CHECK(features_of(clip, image, "cls") == Shape{2, 1, 1, 24});
  CHECK(features_of(simple, image, "") == Shape{2, 1, 1, 24});
  CHECK(features_of(simple, image, "tokens") == Shape{2, 4, 6, 24});
  CHECK(features_of(stem, image, "tokens") == Shape{2, 4, 6, 24});
  CHECK(features_of("vitc_ti", {1, 40, 32}, "tokens") == Shape{1, 3, 2, 192});  // its convolutions pad
  CHECK(refusal(vit, image, "embedding").find("expected a CLIP network") != std::string::npos);
  CHECK(refusal(vit, image, "class").find("expected one of auto, cls, tokens, cls+mean, mean, embedding") !=
        std::string::npos);
  CHECK(refusal(simple, image, "cls").find("expected mean or tokens") != std::string::npos);
  CHECK(refusal("resnet18", {1, 224, 224}, "tokens").find("one feature map and no tokens") != std::string::npos);
}

TEST_CASE("ViT: what cannot be built is refused with its reason") {
  CHECK(refusal("vit_ti_8", {1, 30, 32}, "").find("got 32x30; expected sides that are multiples of 8") !=
        std::string::npos);
  CHECK(refusal("vit_b_16_h5", {}, "").find("unusable heads; got 5 of 768") != std::string::npos);
  CHECK(refusal("vit_b_16_r100", {}, "").find("unusable native side; got 100") != std::string::npos);
  CHECK(refusal("simple_vit_b_r384", {}, "").find("'_r384'") != std::string::npos);
  CHECK(refusal("vit_b_12", {}, "").find("unknown architecture") != std::string::npos);
}

TEST_CASE("ViT: a network is found by its tensors, with what is not its family's own") {
  for (const char* name : {"vit_b_16", "vit_ti_8_d3", "vit_l_14_r336", "vit_ti_16_w128_d2_r32", "simple_vit_b",
                           "simple_vit_l", "bcos_simple_vit_s", "vitc_b", "bcos_vitc_ti", "clip_vit_b_32",
                           "clip_vit_b_16", "clip_vit_l_14_r336", "clip_vit_b_32_e640"}) {
    CAPTURE(std::string(name));
    const std::vector<std::string> found = vit_architectures_of(tensors_of(name));
    REQUIRE(!found.empty());
    CHECK(found.front() == name);
    CHECK(tensors_of(found.front()) == tensors_of(name));
  }
  const std::vector<std::string> both = vit_architectures_of(tensors_of("dino_vits8"));
  CHECK(both == std::vector<std::string>{"vit_s_8", "dino_vits8"});
  CHECK(vit_architectures_of(tensors_of("vit_ti_8_w24_h3_r32")).empty());  // its heads cannot be known
  CHECK(vit_architectures_of(tensors_of("resnet18")).empty());
  std::map<std::string, Shape> odd = tensors_of("vit_b_16");
  odd["pos_embed"] = {1, 198, 768};  // a distillation token
  CHECK(vit_architectures_of(odd).empty());
}

// Grids of images and other sizes reuse the ops of a graph (runtime/subgraph.h).
TEST_CASE("ViT: a graph made for one size and fitted to another is the graph made for that size") {
  for (const char* name : {"vit_ti_8_w24_d2_h3_r32", "dino_vits8_w24_d2_h3_r32", "clip_vit_b_32_w24_d1_h3_p8_r32_e12",
                           "simple_vit_ti_w24_d2_h3_p8", "bcos_vitc_ti_w24_d1_h3"}) {
    CAPTURE(std::string(name));
    const Shape wide{2, 64, 48, 3};
    for (const char* features : {"auto", "tokens"}) {
      const Graph native = build_backbone(name, {1, 32, 32}, features).graph,
                  made = build_backbone(name, {2, 64, 48}, features).graph,
                  fitted = with_input_shapes(native, std::span(&wide, 1));
      const Parameters parameters = formula_parameters(made);
      const Tensor images = formula_images(wide);
      CHECK(features_of(fitted, parameters, images) == features_of(made, parameters, images));
    }
  }
}
