#include "tools/checkpoints/architecture.h"

#include <algorithm>
#include <array>

#include "runtime/error.h"

namespace hp {
namespace {

// A residual network after He et al., "Deep Residual Learning for Image Recognition", 2016.
struct Residual {
  std::string_view name, family;
  std::array<int, 4> blocks;  // per stage; 0 where there is no stage
  bool bottleneck;            // 1x1, 3x3, 1x1 with four times the width, instead of two 3x3
  bool projections;           // shortcuts that change the shape are a convolution and a batch norm

  bool cifar() const { return family == "cifar_resnet"; }
  int64_t stem_channels() const { return cifar() ? 16 : 64; }
  int64_t stem_kernel() const { return cifar() ? 3 : 7; }
  int64_t expansion() const { return bottleneck ? 4 : 1; }
  int stages() const { return cifar() ? 3 : 4; }
  int64_t width(int stage) const { return stem_channels() << stage; }
};

constexpr std::string_view imagenet = "resnet", cifar = "cifar_resnet";

constexpr std::array<Residual, 15> table{{
    {"resnet18", imagenet, {2, 2, 2, 2}, false, true},
    {"resnet34", imagenet, {3, 4, 6, 3}, false, true},
    {"resnet50", imagenet, {3, 4, 6, 3}, true, true},
    {"resnet101", imagenet, {3, 4, 23, 3}, true, true},
    {"resnet152", imagenet, {3, 8, 36, 3}, true, true},
    {"cifar_resnet20", cifar, {3, 3, 3, 0}, false, false},
    {"cifar_resnet32", cifar, {5, 5, 5, 0}, false, false},
    {"cifar_resnet44", cifar, {7, 7, 7, 0}, false, false},
    {"cifar_resnet56", cifar, {9, 9, 9, 0}, false, false},
    {"cifar_resnet110", cifar, {18, 18, 18, 0}, false, false},
    {"cifar_resnet20_b", cifar, {3, 3, 3, 0}, false, true},
    {"cifar_resnet32_b", cifar, {5, 5, 5, 0}, false, true},
    {"cifar_resnet44_b", cifar, {7, 7, 7, 0}, false, true},
    {"cifar_resnet56_b", cifar, {9, 9, 9, 0}, false, true},
    {"cifar_resnet110_b", cifar, {18, 18, 18, 0}, false, true},
}};

const Residual& find(std::string_view architecture) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Residual& net) { return net.name == architecture; });
  require(found != table.end(), "[architecture] unknown architecture; got '{}'; expected one of {}", architecture,
          fmt::join(architecture_names(), ", "));
  return *found;
}

class Lister {
 public:
  void convolution(const std::string& name, int64_t out, int64_t in, int64_t kernel) {
    tensors.push_back({name + ".weight", {out, in, kernel, kernel}});
  }
  void batch_norm(const std::string& name, int64_t channels) {
    for (const std::string_view part : {"weight", "bias", "running_mean", "running_var"})
      tensors.push_back({fmt::format("{}.{}", name, part), {channels}});
  }

  std::vector<ExpectedTensor> tensors;
};

void list_block(Lister& list, const Residual& net, const std::string& name, int64_t in, int64_t width) {
  const int64_t out = width * net.expansion();
  if (net.bottleneck) {
    list.convolution(name + ".conv1", width, in, 1);
    list.batch_norm(name + ".bn1", width);
    list.convolution(name + ".conv2", width, width, 3);
    list.batch_norm(name + ".bn2", width);
    list.convolution(name + ".conv3", out, width, 1);
    list.batch_norm(name + ".bn3", out);
  } else {
    list.convolution(name + ".conv1", width, in, 3);
    list.batch_norm(name + ".bn1", width);
    list.convolution(name + ".conv2", width, width, 3);
    list.batch_norm(name + ".bn2", width);
  }
  if (net.projections && in != out) {
    list.convolution(name + ".downsample.0", out, in, 1);
    list.batch_norm(name + ".downsample.1", out);
  }
}

}  // namespace

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Residual& net : table) names.emplace_back(net.name);
  return names;
}

std::string family_of(std::string_view architecture) { return std::string(find(architecture).family); }

std::vector<ExpectedTensor> expected_tensors(std::string_view architecture) {
  const Residual& net = find(architecture);
  Lister list;
  list.convolution("conv1", net.stem_channels(), 3, net.stem_kernel());
  list.batch_norm("bn1", net.stem_channels());
  int64_t channels = net.stem_channels();
  for (int stage = 0; stage < net.stages(); ++stage) {
    for (int block = 0; block < net.blocks[static_cast<size_t>(stage)]; ++block) {
      list_block(list, net, fmt::format("layer{}.{}", stage + 1, block), channels, net.width(stage));
      channels = net.width(stage) * net.expansion();
    }
  }
  return std::move(list.tensors);
}

int64_t feature_channels(std::string_view architecture) {
  const Residual& net = find(architecture);
  return net.width(net.stages() - 1) * net.expansion();
}

Fit nearest_architecture(const std::map<std::string, Shape>& found, std::span<const std::string> families) {
  Fit best;
  for (const Residual& net : table) {
    if (!families.empty() && std::find(families.begin(), families.end(), net.family) == families.end()) continue;
    Fit fit{std::string(net.name), 0, 0};
    for (const ExpectedTensor& tensor : expected_tensors(net.name)) {
      const auto have = found.find(tensor.name);
      ++(have != found.end() && have->second == tensor.shape ? fit.matching : fit.wrong);
    }
    if (best.architecture.empty() || fit.distance(found.size()) < best.distance(found.size())) best = fit;
  }
  return best;
}

}  // namespace hp
