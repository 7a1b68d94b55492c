#include "probes/probe.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/pool.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/random.h"

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
  require(spec.head != HeadKind::converted,
          "[probe] '{}': a converted head has its weights already; expected the head of a checkpoint", spec.name);
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
  spec.head = HeadKind::converted;
  spec.bias = backbone.contains("head.bias");
  Probe probe(std::move(spec), channels, std::move(classes));
  const std::string& name = probe.spec_.name;
  require(backbone.contains("head.weight"),
          "[probe] '{}': the backbone's file has no classifier; got no 'head.weight'; expected a checkpoint with one, "
          "or head linear",
          name);
  const Tensor& weight = backbone.at("head.weight");
  const Shape& shape = weight.shape();
  require((shape.rank() == 2 || (shape.rank() == 4 && shape[2] == 1 && shape[3] == 1)) &&
              shape[0] == probe.class_count() && shape[1] == channels,
          "[probe] '{}': the checkpoint's classifier does not fit; got {}; expected {} classes and {} channels", name,
          shape.str(), probe.class_count(), channels);
  probe.parameters.set("head.weight", host_copy(weight, {shape[0], shape[1], 1, 1}));
  if (probe.spec_.bias) {
    const Tensor& bias = backbone.at("head.bias");
    require(bias.count() == probe.class_count(),
            "[probe] '{}': the classifier's bias does not fit; got {}; expected [{}]", name, bias.shape().str(),
            probe.class_count());
    probe.parameters.set("head.bias", host_copy(bias, {probe.class_count()}));
  }
  return probe;
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
  Folded folded = fold_batch_norm(graph, parameters);
  return {spec_.name, std::move(folded.graph), on_device(folded.parameters, kernels)};
}

}  // namespace hp
