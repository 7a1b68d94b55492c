#include "tools/checkpoints/head_import.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "runtime/error.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"
#include "tools/checkpoints/mmengine_config.h"

namespace hp {
namespace {

using Found = std::map<std::string, const CheckpointTensor*>;  // by the name behind "head."

Found find_head(const Checkpoint& checkpoint) {
  for (const std::string prefix : {"state_dict.head.", "state_dict.module.head.", "head.", "module.head."}) {
    Found found;
    for (const CheckpointTensor& tensor : checkpoint.tensors)
      if (tensor.name.starts_with(prefix)) found[tensor.name.substr(prefix.size())] = &tensor;
    if (!found.empty()) return found;
  }
  fail(
      "[probe] the file has no head; got no tensor under 'head.'; expected a classifier of mmpretrain, backbone and "
      "head");
}

const CheckpointTensor* at(const Found& found, const std::string& name) {
  const auto place = found.find(name);
  return place == found.end() ? nullptr : place->second;
}

// What the tensors' names say: "fc" alone, or "fc0", "fc1", ... with norms between them.
struct HeadLayout {
  bool bcos = false, single = false, bias = false;
  int layers = 0;

  std::string layer(int index) const { return single ? "fc" : fmt::format("fc{}", index); }
  std::string weight(int index) const { return layer(index) + (bcos ? ".linear.weight" : ".weight"); }
};

HeadLayout layout_of(const Found& found) {
  HeadLayout layout;
  layout.bcos = at(found, "fc.linear.weight") || at(found, "fc0.linear.weight");
  layout.single = at(found, "fc.linear.weight") || at(found, "fc.weight");
  while (layout.layers < ProbeSpec::max_layers && at(found, layout.weight(layout.layers))) {
    ++layout.layers;
    if (layout.single) break;
  }
  require(layout.layers > 0, "[probe] the head is none that is known; got {}, ...; expected fc.weight, fc0.weight, ...",
          printable(found.begin()->first));
  layout.bias = at(found, layout.layer(0) + ".bias") != nullptr;
  require(!at(found, fmt::format("bn{}.weight", layout.layers - 1)) || layout.layers == 1,
          "[probe] the head has a norm behind its last layer; such heads are not read");
  return layout;
}

Tensor values_of(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const Shape& shape) {
  require(tensor.view.shape.count() == shape.count(), "[probe] {} does not fit; got {}; expected {}",
          printable(tensor.name), tensor.view.shape.str(), shape.str());
  const Tensor values = checkpoint.read(tensor).reshaped(shape);
  require_finite(values, printable(tensor.name));
  return values;
}

// A norm without bias is one that subtracts no mean (NoBias(BatchNormUncentered2d)): as batch norm it has mean and bias
// 0. The file's running_mean is then never read (protocol.md 1.2).
void add_norm_values(const Checkpoint& checkpoint, const Found& found, const HeadShape& shape, int layer,
                     Parameters& parameters) {
  const bool centred = at(found, fmt::format("bn{}.bias", layer)) != nullptr;
  for (const char* part : {"weight", "running_var", "bias", "running_mean"}) {
    const bool second = std::string_view(part) == "bias" || std::string_view(part) == "running_mean";
    const std::string name = fmt::format("bn{}.{}", layer, part);
    const CheckpointTensor* tensor = at(found, name);
    if (second && !centred) {
      parameters.set("head." + name,
                     Tensor::host({shape.hidden}, std::vector<float>(static_cast<size_t>(shape.hidden))));
    } else {
      require(tensor != nullptr, "[probe] the head lacks {}; the file is damaged or not of mmpretrain", name);
      parameters.set("head." + name, values_of(checkpoint, *tensor, {shape.hidden}));
    }
  }
}

float constant_of(const Checkpoint& checkpoint, const HeadLayout& layout, const HeadOptions& options, int64_t classes) {
  if (options.logit_constant == "off") return off_logit(classes);
  if (!options.logit_constant.empty()) {
    double value = 0;
    const char* end = options.logit_constant.data() + options.logit_constant.size();
    const auto [stop, error] = std::from_chars(options.logit_constant.data(), end, value);
    require(error == std::errc() && stop == end && std::isfinite(value),
            "[probe] unknown logit constant; got '{}'; expected a number or 'off'", options.logit_constant);
    return static_cast<float>(value);
  }
  if (const std::optional<HeadConfig> config = head_config(checkpoint)) return logit_constant(*config, classes);
  require(
      layout.single,
      "[probe] the constant that the head adds to its logits is in no tensor, and the file has no configuration that "
      "names the head's class; give --logit-constant: 'off' (-ln(classes - 1)) for single-label B-cos heads and for "
      "MLPs with a binary loss and no biases, 0 otherwise");
  return 0;  // LinearClsHead and BcosLinearClsHeadOld add none
}

}  // namespace

Probe import_head(const Checkpoint& checkpoint, const HeadOptions& options) {
  const Found found = find_head(checkpoint);
  const HeadLayout layout = layout_of(found);
  const bool mlp = layout.layers > 1;
  HeadShape shape;
  shape.kind = layout.bcos ? (mlp ? HeadKind::bcos_mlp : HeadKind::bcos_linear)
               : mlp       ? HeadKind::mlp
                           : HeadKind::linear;
  shape.layers = layout.layers;
  const Shape& first = at(found, layout.weight(0))->view.shape;
  const Shape& last = at(found, layout.weight(layout.layers - 1))->view.shape;
  require(first.rank() >= 2 && last.rank() >= 2, "[probe] the head's weights have no rows and columns");
  shape.channels = first[1], shape.hidden = first[0], shape.classes = last[0];
  ProbeSpec spec{"head", shape.kind};
  spec.bias = shape.bias = layout.bias && !layout.bcos;
  spec.layers = layout.layers;
  spec.hidden = mlp ? shape.hidden : 0;
  spec.loss = layout.bcos ? LossKind::bce : LossKind::ce;
  spec.logit_constant = constant_of(checkpoint, layout, options, shape.classes);
  Parameters parameters;
  for (const HeadParameter& parameter : head_parameters(shape)) {
    std::string name = parameter.name;  // "head.fc0.weight", "head.weight", "head.bn0.weight"
    if (name.starts_with("head.bn")) continue;
    name = name.starts_with("head.fc") ? name.substr(5) : "fc0." + name.substr(5);
    if (layout.single) name = "fc" + name.substr(3);
    const CheckpointTensor* tensor = at(found, name);
    require(tensor != nullptr, "[probe] the head lacks {}; the file is damaged or not of mmpretrain", name);
    parameters.set(parameter.name, values_of(checkpoint, *tensor, parameter.shape));
  }
  for (int layer = 0; layer + 1 < layout.layers; ++layer) add_norm_values(checkpoint, found, shape, layer, parameters);
  const std::vector<std::string> classes = options.classes.empty() ? numbered_classes(shape.classes) : options.classes;
  require(static_cast<int64_t>(classes.size()) == shape.classes, "[probe] the head has {} classes; got {} names",
          shape.classes, classes.size());
  return Probe::given(spec, shape.channels, classes, parameters);
}

namespace {

std::optional<double> scale_in(const Checkpoint& checkpoint) {
  for (const CheckpointTensor& tensor : checkpoint.tensors) {
    const bool own = tensor.name == "logit_scale" || tensor.name.ends_with(".logit_scale");
    if (own && tensor.view.shape.count() == 1) return std::exp(static_cast<double>(*checkpoint.read(tensor).floats()));
  }
  return std::nullopt;
}

struct Embedded {
  Tensor rows;
  std::optional<double> scale;
};

Embedded read_embeddings(const std::filesystem::path& file) {
  if (file.extension() == ".npy") return {read_npy(file), std::nullopt};
  const Checkpoint checkpoint = read_checkpoint(file);
  const auto found = std::find_if(checkpoint.tensors.begin(), checkpoint.tensors.end(),
                                  [](const CheckpointTensor& tensor) { return tensor.name == "class_embeddings"; });
  require(found != checkpoint.tensors.end(),
          "[zero-shot] {} has no tensor 'class_embeddings'; expected it as [classes, channels]", file.string());
  return {checkpoint.read(*found), scale_in(checkpoint)};
}

}  // namespace

Probe import_zero_shot(const TextEmbeddings& embeddings, const Checkpoint* checkpoint) {
  const std::string where = embeddings.file.string();
  const Embedded embedded = read_embeddings(embeddings.file);
  const Shape shape = embedded.rows.shape();
  require(shape.rank() == 2 && embedded.rows.dtype() == DType::float32,
          "[zero-shot] {}: embeddings do not fit; got {}; expected [classes, channels] of floating point", where,
          shape.str());
  require(static_cast<size_t>(shape[0]) == embeddings.classes.size(),
          "[zero-shot] {}: got {} rows and {} class names; expected one name a row (is the array [channels, classes]? "
          "transpose it)",
          where, shape[0], embeddings.classes.size());
  std::optional<double> scale = embeddings.logit_scale > 0 ? std::optional(embeddings.logit_scale) : embedded.scale;
  if (!scale && checkpoint) scale = scale_in(*checkpoint);
  require(scale && std::isfinite(*scale) && *scale > 0,
          "[zero-shot] the logit scale is not known; got none in the checkpoint or {}; expected --logit-scale, 100 for "
          "OpenAI's models",
          where);
  const Tensor rows = Tensor::host({shape[0], shape[1], 1, 1});
  for (int64_t row = 0; row < shape[0]; ++row) {
    const float* from = embedded.rows.floats() + row * shape[1];
    double square = 0;
    for (int64_t i = 0; i < shape[1]; ++i) square += static_cast<double>(from[i]) * from[i];
    require(std::isfinite(square) && square > 0, "[zero-shot] {}: the embedding of {} has no direction; got length {}",
            where, printable(embeddings.classes[static_cast<size_t>(row)]), std::sqrt(square));
    for (int64_t i = 0; i < shape[1]; ++i)
      rows.floats()[row * shape[1] + i] = static_cast<float>(*scale * from[i] / std::sqrt(square));
  }
  Parameters parameters;
  parameters.set("head.weight", rows);
  ProbeSpec spec{"zero-shot", HeadKind::zero_shot};
  spec.bias = false;
  Probe probe = Probe::given(spec, shape[1], embeddings.classes, parameters);
  probe.provenance["logit_scale"] = fmt::format("{}", *scale);
  probe.provenance["embeddings"] = embeddings.file.filename().string();
  return probe;
}

std::vector<std::string> read_class_names(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::string text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string name = text.substr(begin, end - begin);
    if (name.ends_with('\r')) name.pop_back();
    names.push_back(name);
    begin = end + 1;
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  for (const std::string& name : names)
    require(!name.empty() && seen.insert(name).second,
            "[probe] {}: class {} is empty or occurs twice; expected one name a line", path.string(), printable(name));
  return names;
}

}  // namespace hp
