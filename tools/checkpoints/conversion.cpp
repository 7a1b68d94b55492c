#include "tools/checkpoints/conversion.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/key_selection.h"

namespace hp {
namespace {

bool is_floating(ElementType type) {
  return type == ElementType::f64 || type == ElementType::f32 || type == ElementType::f16 || type == ElementType::bf16;
}

bool is_running_statistic(std::string_view name) {
  return name.ends_with(".running_mean") || name.ends_with(".running_var");
}

std::string type_and_shape(const CheckpointTensor& tensor) {
  return fmt::format("{} {}", name_of(tensor.type), tensor.view.shape.str());
}

// An object that foreign code should have made is not a tensor, and what it was meant to be nobody knows.
void refuse_foreign(const Checkpoint& checkpoint, const std::string& wrapper) {
  for (const CheckpointItem& item : checkpoint.items) {
    const bool selected = wrapper.empty() || item.name == wrapper || item.name.starts_with(wrapper + ".");
    require(
        !item.foreign || !selected,
        "[convert] {} is {}, which is not read because nothing in a checkpoint is executed; save a plain state_dict()",
        item.name.empty() ? "the file's object" : printable(item.name), item.what);
  }
}

// The preprocessing with the side of the network's own images where the key map says "native".
std::string with_side(const std::string& preprocessing, int64_t side) {
  nlohmann::json json = nlohmann::json::parse(preprocessing);
  for (const char* key : {"resize", "crop"})
    if (json.contains(key) && json[key] == "native") json[key] = side;
  // Networks for larger images than their family's see them uncut.
  if (json.value("crop", 0) > json.value("resize", 0) && json.value("resize", 0) > 0) json["resize"] = json["crop"];
  return json.dump();
}

// The classifier's shape in the model, or nothing if the file's is none: [classes, channels] or, as a 1x1 convolution,
// with two more ones.
bool classifier_shape(const Shape& stored, const std::string& name, int64_t channels, Shape& shape) {
  if (name == "head.bias") {
    shape = stored;
    return stored.rank() == 1 && stored[0] > 0;
  }
  if (stored.rank() != 2 && !(stored.rank() == 4 && stored[2] == 1 && stored[3] == 1)) return false;
  shape = {stored[0], stored[1]};
  return stored[0] > 0 && stored[1] == channels;
}

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const KeySelection& selection)
      : checkpoint_(checkpoint), selection_(selection) {
    plan_.architecture = selection.architecture.name;
    plan_.key_map = selection.map.name;
    plan_.wrapper = selection.wrapper;
    plan_.prefix = selection.prefix;
    plan_.preprocessing = with_side(selection.map.preprocessing, selection.architecture.native_side);
    if (selection.canonical()) plan_.metadata = checkpoint.metadata;
  }

  Conversion plan() {
    sort_keys();
    for (const ExpectedTensor& tensor : selection_.architecture.tensors) use_expected(tensor);
    use_classifier();
    set_logit_constant();
    for (const auto& [name, found] : found_)
      plan_.unexpected.push_back(fmt::format("{}: {}", printable(checkpoint_.tensors[found.tensor].name),
                                             type_and_shape(checkpoint_.tensors[found.tensor])));
    if (selection_.canonical()) {
      check_classes();
    } else {
      for (const CheckpointItem& item : checkpoint_.items) plan_.dropped.push_back({item.name, item.what});
    }
    return std::move(plan_);
  }

 private:
  struct Found {
    size_t tensor;
    bool transpose;
  };

  void sort_keys() {
    for (const MappedKey& key : selection_.keys) {
      const std::string& source = checkpoint_.tensors[key.tensor].name;
      if (!key.canonical.name) {
        plan_.dropped.push_back({source, key.canonical.reason});
        continue;
      }
      const auto [known, added] = found_.emplace(*key.canonical.name, Found{key.tensor, key.canonical.transpose});
      require(added, "[convert] both {} and {} become {}; give --prefix",
              printable(checkpoint_.tensors[known->second.tensor].name), printable(source),
              printable(*key.canonical.name));
    }
  }

  void use_expected(const ExpectedTensor& expected) {
    const auto found = found_.find(expected.name);
    if (found == found_.end()) {
      plan_.missing.push_back(fmt::format("{} {}", expected.name, expected.shape.str()));
      return;
    }
    const CheckpointTensor& tensor = checkpoint_.tensors[found->second.tensor];
    const bool transpose = found->second.transpose;
    if (same_extents(shape_of(tensor, transpose), expected.shape) && is_floating(tensor.type)) {
      use({found->second.tensor, expected.name, expected.shape, transpose});
    } else {
      plan_.wrong.push_back(fmt::format("{}: got {}; expected floating point {}", expected.name, type_and_shape(tensor),
                                        expected.shape.str()));
    }
    found_.erase(found);
  }

  void use_classifier() {
    for (const std::string name : {"head.weight", bcos_classifier, "head.bias"}) {
      const auto found = found_.find(name);
      if (found == found_.end()) continue;
      const CheckpointTensor& tensor = checkpoint_.tensors[found->second.tensor];
      const int64_t channels = selection_.architecture.channels;
      Shape shape;
      const bool fits = classifier_shape(tensor.view.shape, name, channels, shape) && is_floating(tensor.type) &&
                        (plan_.classes == 0 ? name != "head.bias" : name == "head.bias" && shape[0] == plan_.classes);
      if (fits) {
        plan_.classes = shape[0];
        use({found->second.tensor, name, shape});
      } else {
        plan_.wrong.push_back(
            fmt::format("{} (classifier): got {}; expected floating point [classes, {}] and [classes]", name,
                        type_and_shape(tensor), channels));
      }
      found_.erase(found);
    }
  }

  void set_logit_constant() {
    const std::string& rule = selection_.map.logit_constant;
    if (plan_.classes == 0 || rule.empty()) return;
    plan_.logit_constant = rule == "off" ? fmt::format("{}", -std::log(static_cast<double>(plan_.classes) - 1)) : rule;
  }

  void check_classes() {
    const std::string& said = checkpoint_.metadata.at("classes");
    if (said != std::to_string(plan_.classes))
      plan_.wrong.push_back(
          fmt::format("classifier: got {} classes; expected {} as the metadata says", plan_.classes, printable(said)));
  }

  void use(const UsedTensor& tensor) {
    plan_.used.push_back(tensor);
    (is_running_statistic(tensor.name) ? plan_.running_statistics : plan_.parameters) += tensor.shape.count();
  }

  const Checkpoint& checkpoint_;
  const KeySelection& selection_;
  std::map<std::string, Found> found_;  // by canonical name; what is left at the end is unexpected
  Conversion plan_;
};

}  // namespace

Conversion plan_conversion(const Checkpoint& checkpoint, const ConversionOptions& options) {
  Architectures architectures;
  return plan_conversion(checkpoint, options, architectures);
}

Conversion plan_conversion(const Checkpoint& checkpoint, const ConversionOptions& options,
                           Architectures& architectures) {
  if (checkpoint.tensors.empty()) refuse_foreign(checkpoint, "");
  require(!checkpoint.tensors.empty(), "[convert] the file holds no tensors; see --list");
  const KeySelection selection = select_keys(checkpoint, options, architectures);
  refuse_foreign(checkpoint, selection.wrapper);
  return Planner(checkpoint, selection).plan();
}

}  // namespace hp
