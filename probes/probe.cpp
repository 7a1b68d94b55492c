#include "probes/probe.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/random.h"
#include "runtime/text.h"

namespace hp {
namespace {

Tensor uniform(const Shape& shape, uint64_t seed, std::string_view name, float bound) {
  Tensor tensor = Tensor::host(shape);
  const Random random(seed, name);
  for (int64_t i = 0; i < tensor.count(); ++i) {
    tensor.floats()[i] = random.uniform(static_cast<uint64_t>(i), -bound, bound);
  }
  return tensor;
}

Tensor host_copy(const Tensor& tensor, Shape shape) {
  return Tensor::host(shape, std::span<const float>(tensor.floats(), static_cast<size_t>(tensor.count())));
}

}  // namespace

std::vector<std::string> numbered_classes(int64_t count) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

float off_logit(int64_t classes) { return static_cast<float>(-std::log(static_cast<double>(classes) - 1)); }

float protocol_logit_constant(const ProbeSpec& spec, int64_t classes, bool multi_label) {
  const bool shifted_mlp = spec.head == HeadKind::mlp && spec.loss != LossKind::ce && !spec.bias;
  return !multi_label && (is_bcos(spec.head) || shifted_mlp) ? off_logit(classes) : 0.0F;
}

Probe::Probe(ProbeSpec spec, int64_t channels, std::vector<std::string> classes)
    : spec_(std::move(spec)), channels_(channels), classes_(std::move(classes)) {
  const std::string& name = spec_.name;
  const bool mlp = spec_.head == HeadKind::mlp || spec_.head == HeadKind::bcos_mlp;
  if (spec_.layers == 0) spec_.layers = mlp ? 3 : 1;
  if (spec_.hidden == 0 || !mlp) spec_.hidden = channels_;
  if (is_bcos(spec_.head)) spec_.bias = false;
  require(channels_ >= 1, "[probe] '{}': no feature channels; got {}; expected at least 1", name, channels_);
  require(class_count() >= 2, "[probe] '{}': too few classes; got {}; expected at least 2", name, class_count());
  require(std::isfinite(spec_.logit_constant), "[probe] '{}': the logit constant is not finite; got {}", name,
          spec_.logit_constant);
  require(std::isfinite(spec_.temperature) && spec_.temperature > 0,
          "[probe] '{}': temperature out of range; got {}; expected above 0", name, spec_.temperature);
  require(spec_.hidden >= 1, "[probe] '{}': hidden out of range; got {}; expected at least 1", name, spec_.hidden);
  require(mlp ? spec_.layers >= 2 && spec_.layers <= ProbeSpec::max_layers : spec_.layers == 1,
          "[probe] '{}': layers do not fit head {}; got {}; expected {}", name, name_of(spec_.head), spec_.layers,
          mlp ? fmt::format("2 to {} (one layer is {})", ProbeSpec::max_layers,
                            is_bcos(spec_.head) ? "bcos-linear" : "linear")
              : std::string("1 (more are mlp or bcos-mlp)"));
  require(std::isfinite(spec_.b) && spec_.b >= 1, "[probe] '{}': b out of range; got {}; expected 1 or more", name,
          spec_.b);
}

HeadShape Probe::shape() const {
  return {spec_.head, channels_, spec_.hidden, class_count(), spec_.layers, spec_.bias, spec_.b};
}

Probe Probe::fresh(ProbeSpec spec, int64_t channels, std::vector<std::string> classes, uint64_t seed) {
  require(spec.head != HeadKind::converted && spec.head != HeadKind::zero_shot,
          "[probe] '{}': a {} head has its weights already; expected the head of a checkpoint or file", spec.name,
          name_of(spec.head));
  Probe probe(std::move(spec), channels, std::move(classes));
  for (const HeadParameter& parameter : head_parameters(probe.shape())) {
    const float bound = parameter.start == HeadParameter::Start::uniform
                            ? static_cast<float>(1 / std::sqrt(static_cast<double>(parameter.inputs)))
                            : 0.0F;
    const Tensor values = uniform(parameter.shape, seed, parameter.name, bound);
    if (parameter.start == HeadParameter::Start::one) std::fill_n(values.floats(), values.count(), 1.0F);
    probe.parameters.set(parameter.name, values);
  }
  probe.provenance["seed"] = std::to_string(seed);
  return probe;
}

Probe Probe::converted(ProbeSpec spec, const Parameters& backbone, int64_t channels, std::vector<std::string> classes) {
  const bool bcos = backbone.contains("head.linear.weight");
  require(bcos || backbone.contains("head.weight"),
          "[probe] '{}': the backbone's file has no classifier; got no 'head.weight'; expected a checkpoint with one, "
          "or head linear",
          spec.name);
  spec.head = bcos ? HeadKind::bcos_linear : HeadKind::converted;
  spec.bias = backbone.contains("head.bias");
  if (const auto constant = backbone.metadata.find("logit_constant"); constant != backbone.metadata.end())
    spec.logit_constant = std::strtof(constant->second.c_str(), nullptr);
  const Tensor& weight = backbone.at(bcos ? "head.linear.weight" : "head.weight");
  const Shape& shape = weight.shape();
  const auto count = static_cast<int64_t>(classes.size());
  require((shape.rank() == 2 || (shape.rank() == 4 && shape[2] == 1 && shape[3] == 1)) && shape[0] == count &&
              shape[1] == channels,
          "[probe] '{}': the checkpoint's classifier does not fit; got {}; expected {} classes and {} channels",
          spec.name, shape.str(), count, channels);
  Parameters parameters;
  parameters.set(bcos ? "head.fc0.linear.weight" : "head.weight", weight.reshaped({shape[0], shape[1], 1, 1}));
  if (spec.bias) parameters.set("head.bias", backbone.at("head.bias"));
  return given(std::move(spec), channels, std::move(classes), parameters);
}

Probe Probe::given(ProbeSpec spec, int64_t channels, std::vector<std::string> classes, const Parameters& parameters) {
  spec.frozen = true;
  Probe probe(std::move(spec), channels, std::move(classes));
  for (const HeadParameter& parameter : head_parameters(probe.shape())) {
    const Tensor& values = parameters.at(parameter.name);
    require(values.shape() == parameter.shape, "[probe] '{}': {} does not fit; got {}; expected {}", probe.spec_.name,
            parameter.name, values.shape().str(), parameter.shape.str());
    probe.parameters.set(parameter.name, host_copy(values, parameter.shape));
  }
  return probe;
}

Probe Probe::for_classes(const std::vector<std::string>& classes) const {
  require(classes.size() == classes_.size(), "[probe] '{}': has {} classes; the data has {}", spec_.name,
          classes_.size(), classes.size());
  Probe result = copy(spec_.name);
  result.classes_ = classes;
  if (classes == classes_ || classes_ == numbered_classes(class_count())) return result;
  std::vector<int64_t> row_of;
  for (const std::string& name : classes) {
    const auto found = std::find(classes_.begin(), classes_.end(), name);
    require(found != classes_.end(),
            "[probe] '{}': lacks class {} of the data; got classes {}, ...; expected the data's", spec_.name,
            printable(name), printable(classes_.front()));
    row_of.push_back(found - classes_.begin());
  }
  for (const HeadParameter& parameter : head_parameters(shape())) {
    const bool last = parameter.name.starts_with(last_layer_name(shape())) && parameter.shape[0] == class_count();
    if (!last) continue;
    const Tensor& from = parameters.at(parameter.name);
    const Tensor to = Tensor::host(parameter.shape);
    const int64_t columns = from.count() / class_count();
    for (size_t row = 0; row < row_of.size(); ++row)
      std::copy_n(from.floats() + row_of[row] * columns, columns, to.floats() + static_cast<int64_t>(row) * columns);
    result.parameters.set(parameter.name, to);
  }
  return result;
}

Probe Probe::copy(std::string name) const {
  ProbeSpec spec = spec_;
  spec.name = std::move(name);
  Probe result(std::move(spec), channels_, classes_);
  for (const std::string& key : parameters.names()) {
    result.parameters.set(key, host_copy(parameters.at(key), parameters.at(key).shape()));
  }
  result.provenance = provenance;
  return result;
}

Value Probe::build(Graph& graph, Value features) const {
  const Shape& shape = graph.shape(features);
  require(shape.rank() == 4 && shape[3] == channels_,
          "[probe] '{}': features do not fit; got {}; expected [batch, height, width, {}]", spec_.name, shape.str(),
          channels_);
  const Value map = build_head(graph, features, this->shape());
  const Value pooled = graph.add(std::make_shared<AvgPoolOp>(), {map}, "head.pool");
  const bool changed = spec_.logit_constant != 0 || spec_.temperature != 1;
  const Value flat =
      graph.add(std::make_shared<ReshapeOp>(Shape{class_count()}), {pooled}, changed ? "head.flat" : "logits");
  if (!changed) return flat;
  return graph.add(std::make_shared<AffineOp>(1 / spec_.temperature, spec_.logit_constant), {flat}, "logits");
}

Head Probe::head(const Shape& features, bool nonnegative, Kernels& kernels) const {
  Graph graph;
  build(graph, graph.input("features", features, nonnegative));
  Folded folded = fold_norms(graph, parameters);
  return {spec_.name, std::move(folded.graph), on_device(folded.parameters, kernels)};
}

}  // namespace hp
