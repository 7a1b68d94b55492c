#include "runtime/parameters.h"

#include "runtime/error.h"

namespace hp {

namespace {

// Names that share the longest beginning with the missing one help to see a wrong prefix or a wrong architecture.
std::string nearest(const std::vector<std::string>& names, std::string_view wanted) {
  const std::string* best = nullptr;
  size_t longest = 0;
  for (const std::string& name : names) {
    size_t common = 0;
    while (common < name.size() && common < wanted.size() && name[common] == wanted[common]) ++common;
    if (!best || common > longest) best = &name, longest = common;
  }
  return best ? *best : "none, it is empty";
}

}  // namespace

void Parameters::set(const std::string& name, Tensor value) {
  std::unique_ptr<Weight>& slot = weights_[name];
  if (slot) {
    slot->assign(std::move(value));
  } else {
    slot = std::make_unique<Weight>(std::move(value));
    names_.push_back(name);
  }
}

const Tensor& Parameters::at(std::string_view name) const { return weight(name).tensor(); }

Weight& Parameters::weight(std::string_view name) const {
  auto found = weights_.find(name);
  require(found != weights_.end(),
          "[parameters] missing tensor; got no '{}'; expected it among {} tensors (nearest: {})", name, names_.size(),
          nearest(names_, name));
  return *found->second;
}

int64_t Parameters::count() const {
  int64_t total = 0;
  for (const auto& [name, weight] : weights_) total += weight->tensor().count();
  return total;
}

}  // namespace hp
