#include "probes/probe.h"

#include <cmath>

#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/conv.h"
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

std::string_view name_of(HeadKind kind) { return kind == HeadKind::linear ? "linear" : "converted"; }

HeadKind head_kind(std::string_view name) {
  for (const HeadKind kind : {HeadKind::linear, HeadKind::converted}) {
    if (name_of(kind) == name) return kind;
  }
  fail("[probe] unknown head; got {}; expected linear or converted", printable(name));
}

float off_logit(int64_t classes) { return static_cast<float>(-std::log(static_cast<double>(classes) - 1)); }

Probe::Probe(ProbeSpec spec, int64_t channels, std::vector<std::string> classes)
    : spec_(std::move(spec)), channels_(channels), classes_(std::move(classes)) {
  require(channels_ >= 1, "[probe] '{}': no feature channels; got {}; expected at least 1", spec_.name, channels_);
  require(class_count() >= 2, "[probe] '{}': too few classes; got {}; expected at least 2", spec_.name, class_count());
  require(std::isfinite(spec_.logit_constant), "[probe] '{}': the logit constant is not finite; got {}", spec_.name,
          spec_.logit_constant);
}

Probe Probe::fresh(ProbeSpec spec, int64_t channels, std::vector<std::string> classes, uint64_t seed) {
  require(spec.head != HeadKind::converted,
          "[probe] '{}': a converted head has its weights already; expected the head of a checkpoint", spec.name);
  Probe probe(std::move(spec), channels, std::move(classes));
  const auto bound = static_cast<float>(1 / std::sqrt(static_cast<double>(channels)));
  probe.parameters.set("head.weight", uniform({probe.class_count(), channels, 1, 1}, seed, "head.weight", bound));
  if (probe.spec_.bias) probe.parameters.set("head.bias", uniform({probe.class_count()}, seed, "head.bias", bound));
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

Value Probe::build(Graph& graph, Value features) const {
  const Shape& shape = graph.shape(features);
  require(shape.rank() == 4 && shape[3] == channels_,
          "[probe] '{}': features do not fit; got {}; expected [batch, height, width, {}]", spec_.name, shape.str(),
          channels_);
  std::vector<Value> inputs{features, graph.parameter("head.weight", {class_count(), channels_, 1, 1})};
  if (spec_.bias) inputs.push_back(graph.parameter("head.bias", {class_count()}));
  const Value map = graph.add(std::make_shared<Conv2dOp>(Conv2dOp::Params{}), inputs, "head");
  const Value pooled = graph.add(std::make_shared<AvgPoolOp>(), {map}, "head.pool");
  const bool shifted = spec_.logit_constant != 0;
  const Value flat =
      graph.add(std::make_shared<ReshapeOp>(Shape{class_count()}), {pooled}, shifted ? "head.flat" : "logits");
  if (!shifted) return flat;
  return graph.add(std::make_shared<AffineOp>(1.0F, spec_.logit_constant), {flat}, "logits");
}

Head Probe::head(const Shape& features, bool nonnegative, Kernels& kernels) const {
  Head head{spec_.name, {}, on_device(parameters, kernels)};
  build(head.graph, head.graph.input("features", features, nonnegative));
  return head;
}

}  // namespace hp
