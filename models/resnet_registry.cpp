#include "models/resnet_registry.h"

#include <array>
#include <cmath>
#include <tuple>

#include "models/builder.h"
#include "models/clip_resnet.h"
#include "models/resnet.h"
#include "runtime/error.h"

namespace hp {
namespace {

enum class Family { imagenet, small, cifar, clip };

struct ResNetKind {
  Family family;
  std::array<int64_t, 4> blocks;  // of each stage; three for CIFAR
  int64_t width;                  // channels of the first stage
  bool bottleneck = false, bcos = false;
  Shortcut shortcut = Shortcut::conv;
  int64_t embedding = 0, side = 0;  // of CLIP's attention pool: channels, native side; 0 without one

  auto structure() const { return std::tuple(family, blocks, bottleneck, bcos, shortcut, embedding > 0); }
};

constexpr std::array<int64_t, 4> b10{1, 1, 1, 1}, b18{2, 2, 2, 2}, b34{3, 4, 6, 3}, b101{3, 4, 23, 3},
    b152{3, 8, 36, 3};

void add_imagenet(std::map<std::string, ResNetKind>& kinds, bool bcos) {
  const std::string prefix = bcos ? "bcos_" : "";
  kinds[prefix + "resnet18"] = {Family::imagenet, b18, 64, false, bcos};
  kinds[prefix + "resnet34"] = {Family::imagenet, b34, 64, false, bcos};
  kinds[prefix + "resnet50"] = {Family::imagenet, b34, 64, true, bcos};
  kinds[prefix + "resnet101"] = {Family::imagenet, b101, 64, true, bcos};
  kinds[prefix + "resnet152"] = {Family::imagenet, b152, 64, true, bcos};
}

void add_cifar(std::map<std::string, ResNetKind>& kinds) {
  for (const int64_t blocks : {3, 5, 7, 9, 18}) {
    const std::string depth = std::to_string(6 * blocks + 2);
    const std::array<int64_t, 4> stages{blocks, blocks, blocks, 0};
    kinds["cifar_resnet" + depth] = {Family::cifar, stages, 16, false, false, Shortcut::pad};
    kinds["cifar_resnet" + depth + "_b"] = {Family::cifar, stages, 16};
    kinds["bcos_cifar_resnet" + depth] = {Family::cifar, stages, 16, false, true};
  }
}

ResNetKind clip(std::array<int64_t, 4> blocks, int64_t width, int64_t embedding, int64_t side) {
  return {Family::clip, blocks, width, true, false, Shortcut::conv, embedding, side};
}

const std::map<std::string, ResNetKind>& kinds() {
  static const std::map<std::string, ResNetKind> known = [] {
    std::map<std::string, ResNetKind> made;
    add_imagenet(made, false);
    add_imagenet(made, true);
    add_cifar(made);
    made["small_resnet10"] = {Family::small, b10, 64};
    made["small_resnet18"] = {Family::small, b18, 64};
    made["clip_rn50"] = clip(b34, 64, 1024, 224);
    made["clip_rn101"] = clip(b101, 64, 512, 224);
    made["clip_rn50x4"] = clip({4, 6, 10, 6}, 80, 640, 288);
    made["clip_rn50x16"] = clip({6, 8, 18, 8}, 96, 768, 384);
    made["clip_rn50x64"] = clip({3, 15, 36, 10}, 128, 1024, 448);
    made["clip_rn50_trunk"] = {Family::clip, b34, 64, true};
    made["clip_rn101_trunk"] = {Family::clip, b101, 64, true};
    return made;
  }();
  return known;
}

// The kind with the settings of a name.
ResNetKind settled(ResNetKind kind, const ModelName& name, const std::string& architecture) {
  require_settings(name, kind.embedding > 0 ? "wer" : "w", architecture);
  kind.width = name.get('w', kind.width);
  kind.embedding = name.get('e', kind.embedding);
  kind.side = name.get('r', kind.side);
  require(kind.side % 32 == 0, "[models] unusable native side; got '{}'; expected a multiple of 32", architecture);
  return kind;
}

Value append(Graph& graph, Value x, const ResNetKind& kind) {
  const int64_t width = kind.width;
  switch (kind.family) {
    case Family::imagenet:
    case Family::small:
      return append_resnet(graph, x, {kind.blocks, kind.bottleneck, width, kind.family == Family::small, kind.bcos});
    case Family::cifar:
      return append_cifar_resnet(graph, x, {kind.blocks[0], kind.shortcut, width, kind.bcos});
    case Family::clip:
      x = append_clip_resnet(graph, x, {kind.blocks, width});
      return kind.embedding == 0 ? x : append_attention_pool(graph, x, {kind.embedding, kind.side});
  }
  return x;
}

const Shape* find(const std::map<std::string, Shape>& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

// What the names of some tensors say of a ResNet's structure.
class Structure {
 public:
  explicit Structure(const std::map<std::string, Shape>& tensors) : tensors_(tensors) {}

  std::optional<ResNetKind> read() const {
    const Shape* stem = weight("conv1");
    const Shape* first = weight("layer1.0.conv1");
    if (!stem || stem->rank() != 4 || !first || first->rank() != 4) return std::nullopt;
    ResNetKind kind{Family::imagenet, {}, (*first)[0]};
    for (int stage = 0; stage < 4; ++stage) kind.blocks[static_cast<size_t>(stage)] = blocks(stage + 1);
    kind.bcos = tensors_.contains("conv1.linear.weight");
    kind.bottleneck = weight("layer1.0.conv3") != nullptr;
    if (weight("conv3")) {
      kind.family = Family::clip;
      read_attention_pool(kind);
    } else if (kind.blocks[3] == 0) {
      kind.family = Family::cifar;
      if (!weight("layer2.0.downsample.0")) kind.shortcut = Shortcut::pad;
    } else if ((*stem)[2] == 3) {
      kind.family = Family::small;
    }
    return kind;
  }

 private:
  void read_attention_pool(ResNetKind& kind) const {
    const Shape* positions = find(tensors_, "attnpool.positional_embedding");
    const Shape* output = find(tensors_, "attnpool.c_proj.weight");
    if (!positions || positions->rank() != 2 || !output || output->rank() != 2) return;
    // The mean and at least one position; any numbers may stand in a file.
    if ((*positions)[0] < 2) return;
    const auto grid = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>((*positions)[0] - 1))));
    kind.side = 32 * grid;
    kind.embedding = (*output)[0];
  }

  const Shape* weight(const std::string& conv) const {
    const Shape* shape = find(tensors_, conv + ".weight");
    return shape ? shape : find(tensors_, conv + ".linear.weight");
  }

  int64_t blocks(int stage) const {
    constexpr int64_t most = 64;
    int64_t count = 0;
    while (count < most && weight(fmt::format("layer{}.{}.conv1", stage, count))) ++count;
    return count;
  }

  const std::map<std::string, Shape>& tensors_;
};

}  // namespace

std::vector<std::string> resnet_names() {
  std::vector<std::string> names;
  for (const auto& [name, kind] : kinds()) names.push_back(name);
  return names;
}

std::optional<Backbone> build_resnet(const std::string& architecture, const ModelName& name, ImageShape shape) {
  const auto found = kinds().find(name.base);
  if (found == kinds().end()) return std::nullopt;
  const ResNetKind kind = settled(found->second, name, architecture);
  Backbone backbone{architecture, {}, kind.side};
  Graph& graph = backbone.graph;
  const Value image = graph.input("image", {shape.batch, shape.height, shape.width, 3}, true);
  const Value x = kind.bcos ? inverse(graph, image, "model_input") : normalise(graph, image, "model_input");
  graph.alias("features", append(graph, x, kind));
  return backbone;
}

std::vector<std::string> resnet_architectures_of(const std::map<std::string, Shape>& tensors) {
  const std::optional<ResNetKind> seen = Structure(tensors).read();
  std::vector<std::string> names;
  if (!seen) return names;
  constexpr int64_t widest = 1024, most = 4096;
  const bool pool = seen->family == Family::clip && tensors.contains("attnpool.positional_embedding");
  if (seen->width < 4 || seen->width % 4 != 0 || seen->width > widest) return names;
  if (pool && (seen->side < 32 || seen->side > most || seen->embedding < 1 || seen->embedding > most)) return names;
  for (const auto& [name, kind] : kinds()) {
    if (kind.structure() != seen->structure()) continue;
    std::string full = with_setting(name, 'w', seen->width, kind.width);
    full = with_setting(full, 'r', seen->side, kind.side);
    names.push_back(with_setting(full, 'e', seen->embedding, kind.embedding));
  }
  return names;
}

}  // namespace hp
