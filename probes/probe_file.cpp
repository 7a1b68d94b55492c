// Probes as safetensors: the tensors, and everything else as metadata.
#include <charconv>
#include <nlohmann/json.hpp>

#include "probes/probe.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"

namespace hp {
namespace {

constexpr std::string_view kind = "hp probe";
constexpr std::string_view provenance_prefix = "provenance.";

const std::string& entry(const std::map<std::string, std::string>& metadata, const std::string& key,
                         const std::string& where) {
  const auto found = metadata.find(key);
  require(found != metadata.end(),
          "[probe] {} is no probe; got no metadata '{}'; expected a file written by a training", where, key);
  return found->second;
}

// A number of the metadata; `absent` where an older file says nothing.
template <class Number>
Number number(const std::map<std::string, std::string>& metadata, const std::string& key, Number absent,
              const std::string& where) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return absent;
  const std::string& text = found->second;
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size(), "[probe] {}: bad {}; got {}; expected a number",
          where, key, printable(text));
  return value;
}

std::vector<std::string> class_names(const std::string& text, const std::string& where) {
  try {
    return nlohmann::json::parse(text).get<std::vector<std::string>>();
  } catch (const nlohmann::json::exception&) {
    fail("[probe] {}: bad class names; got {}; expected a JSON array of strings", where, printable(text));
  }
}

void require_shape(const Tensor& tensor, const Shape& shape, const std::string& name, const std::string& where) {
  require(tensor.shape() == shape && tensor.dtype() == DType::float32,
          "[probe] {}: {} does not fit; got {} {}; expected float32 {}", where, name, name_of(tensor.dtype()),
          tensor.shape().str(), shape.str());
}

}  // namespace

void Probe::save(const std::filesystem::path& path) const {
  Parameters file;
  for (const std::string& name : parameters.names()) file.set(name, parameters.at(name));
  file.metadata = {
      {"kind", std::string(kind)},
      {"name", spec_.name},
      {"head", std::string(name_of(spec_.head))},
      {"loss", std::string(name_of(spec_.loss))},
      {"layers", std::to_string(spec_.layers)},
      {"b", fmt::format("{}", spec_.b)},
      {"temperature", fmt::format("{}", spec_.temperature)},
      {"logit_constant", fmt::format("{}", spec_.logit_constant)},
      {"classes", nlohmann::json(classes_).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)}};
  if (spec_.frozen) file.metadata.emplace("frozen", "1");
  for (const auto& [key, value] : provenance) file.metadata[std::string(provenance_prefix) + key] = value;
  save_safetensors(path, file);
}

Probe Probe::load(const std::filesystem::path& path) {
  Parameters file = load_safetensors(path);
  const std::string where = path.string();
  require(entry(file.metadata, "kind", where) == kind, "[probe] {} is no probe; got kind {}; expected '{}'", where,
          printable(file.metadata["kind"]), kind);
  ProbeSpec spec;
  spec.name = entry(file.metadata, "name", where);
  spec.head = head_kind(entry(file.metadata, "head", where));
  spec.loss = loss_kind(entry(file.metadata, "loss", where));
  entry(file.metadata, "logit_constant", where);
  spec.logit_constant = number(file.metadata, "logit_constant", 0.0F, where);
  spec.layers = number(file.metadata, "layers", 1, where);
  spec.b = number(file.metadata, "b", 2.0F, where);
  spec.temperature = number(file.metadata, "temperature", 1.0F, where);
  spec.frozen = file.metadata.contains("frozen") || spec.head == HeadKind::converted;
  const bool one_name = hp::reads_pooled(spec.head);
  const std::string first = one_name ? "head" : "head.fc0";
  spec.bias = file.contains(first + ".bias");
  const Tensor& weight = file.at(first + (is_bcos(spec.head) ? ".linear.weight" : ".weight"));
  const Shape& extents = weight.shape();
  if (!one_name && extents.rank() == 4) spec.hidden = extents[0];
  Probe probe(std::move(spec), extents.rank() == 4 ? extents[1] : 0,
              class_names(entry(file.metadata, "classes", where), where));
  for (const HeadParameter& parameter : head_parameters(probe.shape()))
    require_shape(file.at(parameter.name), parameter.shape, parameter.name, where);
  for (const auto& [key, value] : file.metadata) {
    if (key.starts_with(provenance_prefix)) probe.provenance[key.substr(provenance_prefix.size())] = value;
  }
  probe.parameters = std::move(file);
  probe.parameters.metadata.clear();
  return probe;
}

}  // namespace hp
