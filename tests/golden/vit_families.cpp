#include "tests/golden/vit_families.h"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "attribution/method.h"
#include "kernels/cpu/cpu_kernels.h"
#include "models/backbone.h"
#include "probes/probe.h"
#include "runtime/fold.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/bcos.h"
#include "runtime/ops/conv.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/propagator.h"
#include "runtime/subgraph.h"
#include "tests/golden/formula.h"
#include "tests/golden/golden_data.h"
#include "tests/places.h"
#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/conversion.h"

namespace hp::golden {

namespace {

using nlohmann::json;

// As families.py makes it. CLIP's projection is stored as [channels, embedding] there.
Tensor formula_parameter(const std::string& name, const Shape& shape) {
  const std::string kind = name.substr(name.rfind('.') + 1);
  const bool token = name == "cls_token" || name == "pos_embed", matrix = shape.rank() > 1 && !token;
  const bool turned = name == "proj.weight";
  const double fan = static_cast<double>(turned ? shape[0] : matrix ? shape.count() / shape[0] : 1);
  const double gain = name.find("qkv") == name.npos ? 1.7 : 3.0;
  Tensor values = Tensor::host(shape);
  for (int64_t i = 0; i < values.count(); ++i) {
    const int64_t index = turned ? i % shape[1] * shape[0] + i / shape[1] : i;
    const double u = uniform(static_cast<uint64_t>(index), fnv1a(name));
    values.floats()[i] = static_cast<float>(token              ? 0.5 * u
                                            : matrix           ? u * gain / std::sqrt(fan)
                                            : kind == "weight" ? 1.0 + 0.5 * u
                                                               : 0.2 * u);
  }
  return values;
}

Parameters formula_parameters(const Graph& graph) {
  Parameters parameters;
  for (const Node& node : graph.nodes())
    if (node.kind == OpKind::parameter && !node.name.starts_with("model_input."))
      parameters.set(node.name, formula_parameter(node.name, node.shape));
  return parameters;
}

// A family's checkpoint, converted, or its formula weights, and its network with a classifier for images of the file's
// size.
class VitGolden {
 public:
  explicit VitGolden(const std::string& name)
      : file_("vit/" + name),
        comparison_(file_),
        height_(extent(0)),
        width_(extent(1)),
        batch_(file_.entries().at("logits").values.shape()[0]),
        classes_(file_.entries().at("logits").values.shape()[1]) {
    if (std::filesystem::exists(folder() / (name + "_maps.safetensors"))) {
      maps_.emplace("vit/" + name + "_maps");
      maps_comparison_.emplace(*maps_);
    }
    for (const int target : {1, 3})
      if (std::ssize(targets_) < batch_) targets_.push_back(target);
    for (const int target : {4, 0})
      if (std::ssize(targets_) < 2 * batch_) targets_.push_back(target);
    // Made for the native size and fitted to the file's, as a session does it.
    Graph native = backbone(batch_).graph;
    const std::string checkpoint = file_.header().at("checkpoint");
    parameters_ = checkpoint.empty() ? formula_parameters(native) : converted(folder() / checkpoint);
    if (checkpoint.empty() && native.contains("model_input.mean")) normalise_as_published();
    add_classifier(native);
    const Shape image{batch_, height_, width_, 3};
    graph_ = with_input_shapes(native, std::span(&image, 1));
  }

  void check() {
    Executor executor(graph_, parameters_, kernels_, Keep::everything);
    const Activations activations = executor.run(images());
    check_values(activations);
    check_input_gradients(activations);
    check_parameter_gradients(activations);
  }

  void finish() const {
    comparison_.finish();
    if (maps_comparison_) maps_comparison_->finish();
  }

  // Through a session and a probe, as a user's experiment does it, with both roles as targets of one call.
  void check_maps() {
    if (!maps_) return;
    const std::vector<std::string> names = numbered_classes(classes_);
    ProbeSpec spec;
    spec.name = "own";
    const Backbone own = backbone(1);
    const Probe probe = own_probe(spec, own.channels(), names);
    const Head head = probe.head({1, 1, 1, own.channels()}, false, kernels_);
    Session session(fold_norms(own.graph, parameters_), std::span(&head, 1), kernels_);
    const auto raw = [&](const char* method, const json& options) {
      return make_attribution(method, options)->explain(session, images(), targets_, {}).raw;
    };
    check_roles("gradcam", raw("gradcam", json::object()));
    check_roles("raw_attention", raw("raw_attention", json::object()));
    check_roles("rollout", raw("attention_rollout", json::object()));
    check_roles("chefer_generic", raw("chefer", json::object()));
    if (bcos()) {
      check_roles("bcos", raw("bcos", json::object()));
      return;
    }
    check_roles("chefer_lrp", raw("chefer", {{"variant", "relevance"}}));
    for (const char* composite : {"cp_lrp", "attn_lrp"}) check_roles(composite, raw("lrp", {{"composite", composite}}));
  }

 private:
  Probe own_probe(ProbeSpec spec, int64_t channels, const std::vector<std::string>& names) const {
    if (!bcos()) return Probe::converted(spec, parameters_, channels, names);
    spec.head = HeadKind::bcos_linear;
    spec.logit_constant = file_.header().at("constant").get<float>();
    Probe probe = Probe::fresh(spec, channels, names, 1);
    probe.parameters.set("head.fc0.linear.weight",
                         parameters_.at("head.linear.weight").reshaped({classes_, channels, 1, 1}));
    return probe;
  }

  // Rows of both roles with their entries; what depends on no target has one entry.
  void check_roles(const std::string& name, const Tensor& rows) {
    for (const auto& [entry, about] : maps_->entries()) {
      if (entry != name && !entry.ends_with("/" + name)) continue;
      const int64_t begin = entry.starts_with("second") ? batch_ : 0;
      maps_comparison_->check(entry, rows.rows(begin, begin + batch_));
    }
  }

  static std::filesystem::path folder() { return test::source_folder() / "tests/golden/vit"; }
  std::string architecture() const { return file_.header().at("architecture"); }

  // For images of the size that it was made for.
  Backbone backbone(int64_t batch) const {
    constexpr int64_t any_side = 32;
    const int64_t native = build_backbone(architecture(), {1, any_side, any_side}).native_side;
    const int64_t side = native > 0 ? native : any_side;
    return build_backbone(architecture(), {batch, side, side});
  }

  Parameters converted(const std::filesystem::path& path) const {
    const Checkpoint checkpoint = read_checkpoint(path);
    ConversionOptions options;
    options.architecture = architecture();
    Parameters parameters = convert(checkpoint, plan_conversion(checkpoint, options), path);
    const json preprocessing = json::parse(parameters.metadata.at("preprocessing"));
    set_normalisation(parameters, preprocessing.at("mean"), preprocessing.at("std"));
    return parameters;
  }

  // Of the sources that full sizes stand for.
  void normalise_as_published() {
    const bool clip = architecture().starts_with("clip");
    clip ? set_normalisation(parameters_, {0.48145466f, 0.4578275f, 0.40821073f},
                             {0.26862954f, 0.26130258f, 0.27577711f})
         : set_normalisation(parameters_, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f});
  }

  int64_t extent(size_t axis) const { return file_.header().at("image").at(axis).get<int64_t>(); }
  bool bcos() const { return file_.header().at("bcos").get<bool>(); }

  Tensor images() const {
    const Shape shape{batch_, height_, width_, 3};
    const std::string seed = file_.header().at("images").at(0).at("seed_name");
    return Tensor::host(shape, image_tensor(seed, static_cast<size_t>(shape.count())));
  }

  void add_classifier(Graph& graph) {
    const Value features{graph.find("features")};
    const int64_t channels = graph.shape(features)[-1];
    const Value x = graph.add(std::make_shared<ReshapeOp>(Shape{channels}), {features}, "embedding");
    Value y;
    if (bcos()) {
      const Value w = graph.parameter("head.linear.weight", {classes_, channels});
      if (!parameters_.contains("head.linear.weight"))
        parameters_.set("head.linear.weight", formula_parameter("head.linear.weight", {classes_, channels}));
      y = add_bcos_linear(graph, x, w, {}, "head");
    } else {
      const Value w = graph.parameter("head.weight", {classes_, channels}),
                  b = graph.parameter("head.bias", {classes_});
      for (const Value& made : {w, b}) {
        const Node& node = graph.node(made.index);
        if (!parameters_.contains(node.name)) parameters_.set(node.name, formula_parameter(node.name, node.shape));
      }
      y = graph.add(std::make_shared<LinearOp>(), {x, w, b}, "head");
    }
    const auto constant = file_.header().at("constant").get<float>();
    graph.add(std::make_shared<AffineOp>(1.0f, constant), {y}, "logits");
  }

  void check_values(const Activations& activations) {
    for (const auto& [name, entry] : file_.entries()) {
      const bool value = entry.text("kind") == "node" || entry.text("kind") == "logits";
      if (value) comparison_.check(name, activations.value(graph_.find(name)));
    }
  }

  // Both roles as two targets of one walk.
  void check_input_gradients(const Activations& activations) {
    const Tensor seeds = Tensor::host({2 * batch_, classes_});
    std::fill_n(seeds.floats(), seeds.count(), 0.0f);
    for (int64_t row = 0; row < 2 * batch_; ++row)
      seeds.floats()[row * classes_ + targets_[static_cast<size_t>(row)]] = 1;
    const RelevanceTrace trace = walk(activations, seeds, 2, {graph_.find("model_input")});
    const Tensor gradient = trace.at(graph_.find("model_input")).data;
    for (const char* role : {"first", "second"}) {
      const std::string name = std::string(role) + "/gradient";
      const int64_t begin = role[0] == 'f' ? 0 : batch_;
      if (file_.entries().contains(name)) comparison_.check(name, gradient.rows(begin, begin + batch_));
    }
  }

  void check_parameter_gradients(const Activations& activations) {
    std::vector<int> nodes;
    const std::string prefix = "parameter/";
    for (const auto& [name, entry] : file_.entries())
      if (name.starts_with(prefix)) nodes.push_back(graph_.find(name.substr(prefix.size())));
    if (nodes.empty()) return;
    const Shape shape{batch_, classes_};
    const Tensor message = Tensor::host(shape, signed_tensor("vit/M", static_cast<size_t>(shape.count())));
    const RelevanceTrace trace = walk(activations, message, 1, nodes);
    for (const int node : nodes) comparison_.check(prefix + graph_.node(node).name, trace.at(node).data);
  }

  RelevanceTrace walk(const Activations& activations, const Tensor& seeds, int targets, const std::vector<int>& nodes) {
    std::vector<Tap> taps;
    for (const int node : nodes) taps.push_back({node});
    const Entry entry{graph_.find("logits"), {seeds, Form::multiplier, targets}};
    return Propagator(graph_, Composite(), kernels_).run(activations, std::span(&entry, 1), taps);
  }

  GoldenFile file_;
  Comparison comparison_;
  std::optional<GoldenFile> maps_;  // not of every size
  std::optional<Comparison> maps_comparison_;
  int64_t height_, width_, batch_, classes_;
  std::vector<int> targets_;  // of the roles "first" and "second"
  Parameters parameters_;
  Graph graph_;
  CpuKernels kernels_;
};

}  // namespace

void check_vit(const std::string& name) {
  VitGolden golden(name);
  golden.check();
  golden.check_maps();
  golden.finish();
}

}  // namespace hp::golden
