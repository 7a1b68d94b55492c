#include "tests/tools/checkpoints/hollow_checkpoint.h"

#include "runtime/error.h"
#include "tools/checkpoints/architecture.h"

namespace hp::test {

Hollow hollow(const std::string& architecture, const std::string& prefix, const std::string& classifier,
              int64_t classes) {
  Hollow tensors;
  const Architecture known = examine_architecture(architecture);
  for (const ExpectedTensor& tensor : known.tensors)
    tensors.push_back({prefix + tensor.name, {tensor.shape.extents().begin(), tensor.shape.extents().end()}});
  if (!classifier.empty()) {
    tensors.push_back({classifier + ".weight", {classes, known.channels}});
    tensors.push_back({classifier + ".bias", {classes}});
  }
  return tensors;
}

Hollow bcos_hollow(const std::string& architecture, const std::string& prefix, const std::string& classifier) {
  Hollow tensors = hollow(architecture, prefix, "");
  for (size_t i = 0, count = tensors.size(); i < count; ++i) {
    const std::string name = tensors[i].name;
    if (!name.ends_with(".running_var")) continue;
    const std::string norm = name.substr(0, name.size() - std::string("running_var").size());
    tensors.push_back({norm + "running_mean", tensors[i].size});
    tensors.push_back({norm + "num_batches_tracked", {}});
  }
  if (!classifier.empty())
    tensors.push_back({classifier + ".linear.weight", {10, examine_architecture(architecture).channels, 1, 1}});
  return tensors;
}

Hollow wide_resnet50() {
  Hollow wide = hollow("resnet50", "", "fc");
  const auto is = [](const std::string& name, std::string_view part) { return name.find(part) != name.npos; };
  for (auto& [name, size] : wide) {
    if (!name.starts_with("layer")) continue;
    if (is(name, "conv1") || is(name, "conv2") || is(name, "bn1") || is(name, "bn2")) size[0] *= 2;
    if (is(name, "conv2") || is(name, "conv3")) size[1] *= 2;
  }
  return wide;
}

std::string hollow_state_dict(const Hollow& tensors, const StorageSpec& storage) {
  py::Items items;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorSpec spec{tensors[i].size, std::vector<int64_t>(tensors[i].size.size(), 0),
                    static_cast<int64_t>(i % storage.values.size())};
    items.emplace_back(tensors[i].name, tensor(persistent(storage, false), spec));
  }
  return py::dict(items);
}

StorageSpec hollow_values(size_t count) {
  StorageSpec storage{.key = "0", .values = {}};
  for (size_t i = 0; i < count; ++i) storage.values.push_back(static_cast<float>(i) / 8);
  return storage;
}

HollowFile::HollowFile(const std::string& object, const StorageSpec& storage) {
  write_file(path(), zip_file(torch_archive(object, {storage})));
}

std::string HollowFile::refusal(const ConversionOptions& options) const {
  try {
    const Checkpoint checkpoint = read();
    convert(checkpoint, plan_conversion(checkpoint, options), path());
  } catch (const Error& error) {
    return error.what();
  }
  return "converted";
}

HollowFile file_of(const Hollow& tensors, const std::string& wrapper) {
  const StorageSpec storage = hollow_values();
  const std::string state = hollow_state_dict(tensors, storage);
  return HollowFile(wrapper.empty() ? state : py::dict({{"epoch", py::integer(3)}, {wrapper, state}}), storage);
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string reason_of(const Conversion& conversion, const std::string& name) {
  for (const DroppedTensor& tensor : conversion.dropped)
    if (tensor.name == name) return tensor.reason;
  return "not dropped";
}

}  // namespace hp::test
