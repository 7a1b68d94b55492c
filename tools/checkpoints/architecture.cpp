#include "tools/checkpoints/architecture.h"

#include <algorithm>

#include "models/backbone.h"

namespace hp {

Architecture examine_architecture(const std::string& name) {
  const Backbone backbone = build_backbone(name, {});
  Architecture architecture{name, {}, backbone.channels(), backbone.native_side};
  for (const Node& node : backbone.graph.nodes())
    if (node.kind == OpKind::parameter && !node.name.starts_with("model_input."))
      architecture.tensors.push_back({node.name, node.shape});
  return architecture;
}

bool same_extents(const Shape& a, const Shape& b) {
  const auto significant = [](const Shape& shape) {
    std::span<const int64_t> extents = shape.extents();
    while (!extents.empty() && extents.front() == 1) extents = extents.subspan(1);
    return extents;
  };
  return std::ranges::equal(significant(a), significant(b));
}

const Architecture& Architectures::examine(const std::string& name) {
  const auto known = known_.find(name);
  return known != known_.end() ? known->second : known_.emplace(name, examine_architecture(name)).first->second;
}

std::vector<std::string> matching_architectures(std::span<const std::string> patterns) {
  std::vector<std::string> names = known_architectures();
  std::erase_if(names, [&](const std::string& name) {
    return std::none_of(patterns.begin(), patterns.end(),
                        [&](const std::string& pattern) { return glob(pattern, name); });
  });
  return names;
}

Fit fit_of(const Architecture& architecture, const std::map<std::string, Shape>& found) {
  Fit fit{0, 0, architecture.tensors.size(), found.size()};
  for (const ExpectedTensor& tensor : architecture.tensors) {
    const auto have = found.find(tensor.name);
    if (have == found.end()) continue;
    ++fit.named;
    if (same_extents(have->second, tensor.shape)) ++fit.matching;
  }
  return fit;
}

}  // namespace hp
