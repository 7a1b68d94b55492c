#include <algorithm>

#include "models/backbone.h"
#include "models/name.h"
#include "models/resnet_registry.h"
#include "models/vit_registry.h"
#include "runtime/error.h"

namespace hp {

Backbone build_backbone(const std::string& architecture, ImageShape shape, const std::string& features) {
  const ModelName name = parse_model_name(architecture);
  if (std::optional<Backbone> vit = build_vit(architecture, name, shape, features)) return std::move(*vit);
  std::optional<Backbone> backbone = build_resnet(architecture, name, shape);
  require(backbone.has_value(), "[models] unknown architecture; got '{}'; expected one of {}", architecture,
          fmt::join(known_architectures(), ", "));
  require(features.empty() || features == "auto",
          "[models] {} has one feature map and no tokens; got features \"{}\"; expected \"auto\"", architecture,
          features);
  return std::move(*backbone);
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names = resnet_names();
  for (std::string& name : vit_architectures()) names.push_back(std::move(name));
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> architectures_of(const std::map<std::string, Shape>& tensors) {
  std::vector<std::string> names = vit_architectures_of(tensors);
  return names.empty() ? resnet_architectures_of(tensors) : names;
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
