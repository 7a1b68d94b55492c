// B-cos ResNets and CLIP's ResNets against their original libraries: from the checkpoint in its container to logits,
// activations, gradients and contribution maps (resnets/make_resnet_goldens.py).
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>

#include "attribution/methods/bcos.h"
#include "attribution/rules/bcos_rules.h"
#include "kernels/cpu/cpu_kernels.h"
#include "models/backbone.h"
#include "probes/probe.h"
#include "runtime/executor.h"
#include "runtime/propagator.h"
#include "tests/golden/formula.h"
#include "tests/golden/golden_data.h"
#include "tests/golden/resnet_families.h"
#include "tests/places.h"
#include "tools/checkpoints/conversion.h"

namespace hp::golden {
namespace {

constexpr int64_t images = 2;

// [images, side, side, 3], half a ramp and half noise, as the script makes them.
Tensor family_images(const std::string& name, int64_t side) {
  const Shape shape{images, side, side, 3};
  const std::vector<float> noise = image_tensor(name + ".image", static_cast<size_t>(shape.count()));
  Tensor tensor = Tensor::host(shape);
  for (int64_t i = 0; i < shape.count(); ++i) {
    const int64_t channel = i % 3, column = i / 3 % side, row = i / 3 / side % side;
    const double ramp = static_cast<double>((row * 5 + column * 3 + channel * 60) % 64) / 64.0;
    tensor.floats()[i] = static_cast<float>(0.5 * noise[static_cast<size_t>(i)] + 0.5 * ramp);
  }
  return tensor;
}

struct Family {
  GoldenFile golden;
  std::string architecture, name;
  Parameters parameters;
  bool bcos = false;
};

// Converted without any option: the source is found from the names.
Family from_checkpoint(const std::string& name) {
  Family family{GoldenFile("resnets/" + name), "", name, {}};
  const auto file =
      test::source_folder() / "tests/golden/resnets" / family.golden.header().at("checkpoint").get<std::string>();
  const Checkpoint checkpoint = read_checkpoint(file);
  const Conversion plan = plan_conversion(checkpoint, {});
  family.architecture = plan.architecture;
  family.parameters = convert(checkpoint, plan, file);
  return family;
}

// As large as they are published, with weights by formula.
Family from_formula(const std::string& name) {
  Family family{GoldenFile("resnets/" + name), "", name, {}};
  family.architecture = family.golden.header().at("architecture").get<std::string>();
  const Backbone backbone = build_backbone(family.architecture, {});
  const auto set = [&](const std::string& parameter_name, const Shape& shape) {
    if (const auto kept = family.golden.entries().find("statistics/" + parameter_name);
        kept != family.golden.entries().end())
      return family.parameters.set(parameter_name, kept->second.values);
    const std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
    std::vector<float> values = parameter_name == "attnpool.positional_embedding"
                                    ? signed_tensor(parameter_name, static_cast<size_t>(shape.count()))
                                    : parameter(parameter_name, extents, is_last_norm(parameter_name, true));
    if (parameter_name == "attnpool.positional_embedding")
      for (float& value : values) value = static_cast<float>(0.3 * static_cast<double>(value));
    family.parameters.set(parameter_name, Tensor::host(shape, values));
  };
  for (const Node& node : backbone.graph.nodes())
    if (node.kind == OpKind::parameter && !node.name.starts_with("model_input.")) set(node.name, node.shape);
  const auto classes = family.golden.header().at("classes").get<int64_t>();
  if (classes > 0) {
    set("head.linear.weight", {classes, backbone.channels(), 1, 1});
    family.parameters.metadata["logit_constant"] = fmt::format("{}", -std::log(static_cast<double>(classes) - 1));
  }
  return family;
}

// The network as a graph with what it needs to be walked.
class Walked {
 public:
  Walked(Family& family, int64_t side)
      : family_(family), backbone_(build_backbone(family.architecture, {images, side, side})) {
    Graph& graph = backbone_.graph;
    logits_ = backbone_.features();
    if (family.parameters.contains("head.linear.weight")) {
      family.bcos = true;
      const int64_t classes = family.parameters.at("head.linear.weight").shape()[0];
      const Probe probe =
          Probe::converted({"classifier"}, family.parameters, backbone_.channels(), numbered_classes(classes));
      for (const std::string& name : probe.parameters.names()) family.parameters.set(name, probe.parameters.at(name));
      constant_ = probe.spec().logit_constant;
      logits_ = probe.build(graph, Value{logits_}).index;
    }
    if (!family.bcos)
      set_normalisation(family.parameters, {0.48145466f, 0.4578275f, 0.40821073f},
                        {0.26862954f, 0.26130258f, 0.27577711f});
    executor_ = std::make_unique<Executor>(graph, family.parameters, kernels_, Keep::everything);
    activations_ = executor_->run(family_images(family.name, side));
  }

  Tensor value(const std::string& node) { return copy(activations_.value(backbone_.graph.find(node))); }
  Tensor logits() {
    const Tensor values = copy(activations_.value(logits_));
    return values.reshaped({images, values.shape()[-1]});
  }
  Tensor scores() {
    const Tensor values = logits();
    for (int64_t i = 0; i < values.count(); ++i) values.floats()[i] -= constant_;
    return values;
  }
  RelevanceTrace walk(const Composite& composite, const Tensor& message, const std::vector<int>& nodes) {
    Propagator propagator(backbone_.graph, composite, kernels_);
    const Entry entry{logits_, {message.reshaped(backbone_.graph.node(logits_).shape), Form::multiplier, 1}};
    std::vector<Tap> taps;
    for (const int node : nodes) taps.push_back({node, Tap::Keep::message});
    return propagator.run(activations_, std::span(&entry, 1), taps);
  }
  const Graph& graph() const { return backbone_.graph; }
  int model_input() const { return backbone_.model_input(); }
  const Backbone& backbone() const { return backbone_; }

  static Tensor copy(const Tensor& tensor) {
    return Tensor::host(tensor.shape(), std::span<const float>(tensor.floats(), static_cast<size_t>(tensor.count())));
  }

 private:
  Family& family_;
  Backbone backbone_;
  CpuKernels kernels_;
  int logits_ = -1;
  float constant_ = 0;
  std::unique_ptr<Executor> executor_;
  Activations activations_;
};

Composite explanation() { return Composite().on(OpKind::bcos_scale, rules::detached_scale()); }

void check_gradients(Comparison& comparison, Walked& network) {
  const Tensor logits = network.logits();
  const Tensor message = Tensor::host(logits.shape(), signed_tensor("M", static_cast<size_t>(logits.count())));
  const std::string prefix = "gradient/";
  std::map<std::string, int> node_of;
  for (const auto& [name, entry] : comparison.entries()) {
    if (!name.starts_with(prefix)) continue;
    const std::string own = name.substr(prefix.size());
    node_of[name] = network.graph().find(own == "fc.linear.weight" ? "head.fc0.linear.weight" : own);
  }
  std::vector<int> nodes;
  for (const auto& [name, node] : node_of) nodes.push_back(node);
  const RelevanceTrace trace = network.walk({}, message, nodes);
  for (const auto& [name, node] : node_of) {
    const Tensor gradient = Walked::copy(trace.at(node).data);
    const Shape& shape = gradient.shape();  // the file's convolutions have an axis in front
    const bool convolution = shape.rank() == 4 && node != network.model_input();
    comparison.check(name, convolution ? gradient.reshaped({1, shape[0], shape[1], shape[2], shape[3]}) : gradient);
  }
}

// The maps of two classes, and that each sums to the logit without its constant.
void check_explanations(const GoldenFile& golden, Comparison& comparison, Walked& network) {
  const Tensor scores = network.scores(), x = network.value("model_input");
  const int64_t classes = scores.shape()[1], pixels = x.count() / 6 / images;
  for (size_t rank = 0; rank < 2; ++rank) {
    const auto target = golden.header().at("targets").at(rank).get<int64_t>();
    const Tensor message = Tensor::host({images, classes}, std::vector<float>(static_cast<size_t>(images * classes)));
    for (int64_t b = 0; b < images; ++b) message.floats()[b * classes + target] = 1;
    const RelevanceTrace trace = network.walk(explanation(), message, {network.model_input()});
    const Tensor weights = Walked::copy(trace.at(network.model_input()).data);
    comparison.check(fmt::format("explanation/weights{}", rank), weights);
    const Tensor map = Tensor::host({images, x.shape()[1], x.shape()[2]});
    for (int64_t b = 0; b < images; ++b) {
      double total = 0;
      for (int64_t i = b * pixels; i < (b + 1) * pixels; ++i) {
        double sum = 0;
        for (int64_t c = 0; c < 6; ++c) sum += static_cast<double>(weights.floats()[i * 6 + c]) * x.floats()[i * 6 + c];
        map.floats()[i] = static_cast<float>(sum);
        total += sum;
      }
      const double score = scores.floats()[b * classes + target];
      CHECK(std::abs(total - score) <= 1e-4 * std::abs(score));
    }
    comparison.check(fmt::format("explanation/map{}", rank), map);
  }
}

void check_family(Family family) {
  const GoldenFile& golden = family.golden;
  CHECK(family.architecture == golden.header().at("architecture").get<std::string>());
  Walked network(family, golden.header().at("side").get<int64_t>());
  Comparison comparison(golden);
  comparison.check("logits", network.logits());
  if (family.bcos) {
    CHECK(conventional_parts(build_backbone(family.architecture, {1, 64, 64}).graph).empty());
    comparison.check("scores", network.scores());
    check_explanations(golden, comparison, network);
  }
  for (const auto& [name, entry] : golden.entries()) {
    if (name.starts_with("node/")) comparison.check(name, network.value(name.substr(5)));
    if (name.starts_with("statistics/")) comparison.check(name, entry.values);  // went in as it is
  }
  check_gradients(comparison, network);
  comparison.finish();
}

}  // namespace

void check_checkpoint_family(const std::string& name) { check_family(from_checkpoint(name)); }
void check_formula_family(const std::string& name) { check_family(from_formula(name)); }

}  // namespace hp::golden
