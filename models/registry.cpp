#include <functional>
#include <map>

#include "models/builder.h"
#include "models/resnet.h"
#include "runtime/error.h"

namespace hp {

namespace {

// `width`: channels of the first stage; 0: the architecture's own.
using Append = std::function<Value(Graph&, Value, int64_t width)>;

Append resnet(std::array<int64_t, 4> blocks, bool bottleneck, bool small_stem = false) {
  return [=](Graph& graph, Value x, int64_t width) {
    return append_resnet(graph, x, {blocks, bottleneck, width > 0 ? width : 64, small_stem});
  };
}

Append cifar(int64_t blocks, Shortcut shortcut) {
  return [=](Graph& graph, Value x, int64_t width) {
    return append_cifar_resnet(graph, x, {blocks, shortcut, width > 0 ? width : 16});
  };
}

const std::map<std::string, Append>& registry() {
  static const std::map<std::string, Append> builders = {
      {"resnet18", resnet({2, 2, 2, 2}, false)},
      {"resnet34", resnet({3, 4, 6, 3}, false)},
      {"resnet50", resnet({3, 4, 6, 3}, true)},
      {"resnet101", resnet({3, 4, 23, 3}, true)},
      {"resnet152", resnet({3, 8, 36, 3}, true)},
      {"cifar_resnet20", cifar(3, Shortcut::pad)},
      {"cifar_resnet32", cifar(5, Shortcut::pad)},
      {"cifar_resnet44", cifar(7, Shortcut::pad)},
      {"cifar_resnet56", cifar(9, Shortcut::pad)},
      {"cifar_resnet110", cifar(18, Shortcut::pad)},
      {"cifar_resnet20_b", cifar(3, Shortcut::conv)},
      {"cifar_resnet32_b", cifar(5, Shortcut::conv)},
      {"cifar_resnet44_b", cifar(7, Shortcut::conv)},
      {"cifar_resnet56_b", cifar(9, Shortcut::conv)},
      {"cifar_resnet110_b", cifar(18, Shortcut::conv)},
      {"small_resnet10", resnet({1, 1, 1, 1}, false, true)},
      {"small_resnet18", resnet({2, 2, 2, 2}, false, true)},
  };
  return builders;
}

struct Named {
  std::string base;
  int64_t width = 0;
};

// "resnet18_w32" -> resnet18, 32.
Named split_name(const std::string& architecture) {
  const size_t mark = architecture.rfind("_w");
  const size_t digits = mark == std::string::npos ? 0 : architecture.size() - mark - 2;
  if (digits == 0 || digits > 4 || architecture.find_first_not_of("0123456789", mark + 2) != std::string::npos) {
    return {architecture, 0};
  }
  const int64_t width = std::stoll(architecture.substr(mark + 2));
  require(width >= 4 && width % 4 == 0 && width <= 1024,
          "[models] unusable width; got '{}'; expected a multiple of 4 from 4 to 1024", architecture);
  return {architecture.substr(0, mark), width};
}

}  // namespace

Backbone build_backbone(const std::string& architecture, ImageShape shape) {
  const Named named = split_name(architecture);
  auto found = registry().find(named.base);
  require(found != registry().end(), "[models] unknown architecture; got '{}'; expected one of {}", architecture,
          fmt::join(known_architectures(), ", "));
  Backbone backbone{architecture, {}};
  const Value image = backbone.graph.input("image", {shape.batch, shape.height, shape.width, 3}, true);
  const Value model_input = normalise(backbone.graph, image, "model_input");
  backbone.graph.alias("features", found->second(backbone.graph, model_input, named.width));
  return backbone;
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const auto& [name, append] : registry()) names.push_back(name);
  return names;
}

void set_normalisation(Parameters& parameters, const std::vector<float>& mean,
                       const std::vector<float>& standard_deviation) {
  require(!mean.empty() && mean.size() == standard_deviation.size(),
          "[models] normalisation needs one mean and one deviation a channel; "
          "got {} and {}; expected equal numbers",
          mean.size(), standard_deviation.size());
  std::vector<float> variance;
  for (float deviation : standard_deviation) {
    require(deviation > 0, "[models] standard deviation must be positive; got {}; expected above 0", deviation);
    variance.push_back(deviation * deviation);
  }
  const Shape channels{static_cast<int64_t>(mean.size())};
  parameters.set("model_input.mean", Tensor::host(channels, mean));
  parameters.set("model_input.variance", Tensor::host(channels, variance));
}

}  // namespace hp
