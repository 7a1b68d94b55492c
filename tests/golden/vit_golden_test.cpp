// Vision transformers from their sources' checkpoints, against what the original libraries compute in double precision
// (README.md).
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

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

// The classifier that a family's file lacks, as families.py makes it.
Tensor formula_parameter(const std::string& name, const Shape& shape) {
  Tensor values = Tensor::host(shape);
  const double scale = shape.rank() > 1 ? 1.7 / std::sqrt(static_cast<double>(shape[1])) : 0.2;
  for (int64_t i = 0; i < values.count(); ++i) {
    const double u = uniform(static_cast<uint64_t>(i), fnv1a(name));
    values.floats()[i] =
        static_cast<float>(shape.rank() > 1 ? u * 1.7 / std::sqrt(static_cast<double>(shape[1])) : u * scale);
  }
  return values;
}

// A family's checkpoint, converted, and its network with a classifier for images of the file's size.
class VitGolden {
 public:
  explicit VitGolden(const std::string& name)
      : file_("vit/" + name),
        maps_("vit/" + name + "_maps"),
        comparison_(file_),
        maps_comparison_(maps_),
        height_(extent(0)),
        width_(extent(1)) {
    const std::filesystem::path path =
        test::source_folder() / "tests/golden/vit" / file_.header().at("checkpoint").get<std::string>();
    const std::string architecture = file_.header().at("architecture");
    const Checkpoint checkpoint = read_checkpoint(path);
    ConversionOptions options;
    options.architecture = architecture;
    parameters_ = convert(checkpoint, plan_conversion(checkpoint, options), path);
    const json preprocessing = json::parse(parameters_.metadata.at("preprocessing"));
    set_normalisation(parameters_, preprocessing.at("mean"), preprocessing.at("std"));
    // Made for the native size and fitted to the file's, as a session does it.
    Graph native = build_backbone(architecture, {batch, 32, 32}).graph;
    add_classifier(native);
    const Shape image{batch, height_, width_, 3};
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
    maps_comparison_.finish();
  }

  // Through a session and a probe, as a user's experiment does it, with both roles as targets of one call.
  void check_maps() {
    std::vector<std::string> names;
    for (int64_t i = 0; i < classes; ++i) names.push_back(std::to_string(i));
    ProbeSpec spec;
    spec.name = "own";
    const Backbone backbone = build_backbone(file_.header().at("architecture"), {1, 32, 32});
    const Probe probe = own_probe(spec, backbone.channels(), names);
    const Head head = probe.head({1, 1, 1, backbone.channels()}, false, kernels_);
    Session session(fold_batch_norm(backbone.graph, parameters_), std::span(&head, 1), kernels_);
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
                         parameters_.at("head.linear.weight").reshaped({classes, channels, 1, 1}));
    return probe;
  }

  // Rows of both roles with their entries; what depends on no target has one entry.
  void check_roles(const std::string& name, const Tensor& rows) {
    for (const auto& [entry, about] : maps_.entries()) {
      if (entry != name && !entry.ends_with("/" + name)) continue;
      const int64_t begin = entry.starts_with("second") ? batch : 0;
      maps_comparison_.check(entry, rows.rows(begin, begin + batch));
    }
  }

  static constexpr int64_t batch = 2, classes = 5;

  int64_t extent(size_t axis) const { return file_.header().at("image").at(axis).get<int64_t>(); }
  bool bcos() const { return file_.header().at("bcos").get<bool>(); }

  Tensor images() const {
    const Shape shape{batch, height_, width_, 3};
    const std::string seed = file_.header().at("images").at(0).at("seed_name");
    return Tensor::host(shape, image_tensor(seed, static_cast<size_t>(shape.count())));
  }

  void add_classifier(Graph& graph) {
    const Value features{graph.find("features")};
    const int64_t channels = graph.shape(features)[-1];
    const Value x = graph.add(std::make_shared<ReshapeOp>(Shape{channels}), {features}, "embedding");
    Value y;
    if (bcos()) {
      y = add_bcos_linear(graph, x, graph.parameter("head.linear.weight", {classes, channels}), {}, "head");
    } else {
      const Value w = graph.parameter("head.weight", {classes, channels}), b = graph.parameter("head.bias", {classes});
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
    const Tensor seeds = Tensor::host({2 * batch, classes});
    std::fill_n(seeds.floats(), seeds.count(), 0.0f);
    for (int64_t row = 0; row < 2 * batch; ++row)
      seeds.floats()[row * classes + targets_[static_cast<size_t>(row)]] = 1;
    const RelevanceTrace trace = walk(activations, seeds, 2, {graph_.find("model_input")});
    const Tensor gradient = trace.at(graph_.find("model_input")).data;
    for (const char* role : {"first", "second"}) {
      const std::string name = std::string(role) + "/gradient";
      const int64_t begin = role[0] == 'f' ? 0 : batch;
      if (file_.entries().contains(name)) comparison_.check(name, gradient.rows(begin, begin + batch));
    }
  }

  void check_parameter_gradients(const Activations& activations) {
    std::vector<int> nodes;
    const std::string prefix = "parameter/";
    for (const auto& [name, entry] : file_.entries())
      if (name.starts_with(prefix)) nodes.push_back(graph_.find(name.substr(prefix.size())));
    if (nodes.empty()) return;
    const Shape shape{batch, classes};
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

  GoldenFile file_, maps_;
  Comparison comparison_, maps_comparison_;
  const std::vector<int> targets_{1, 3, 4, 0};  // of the roles "first" and "second"
  int64_t height_, width_;
  Parameters parameters_;
  Graph graph_;
  CpuKernels kernels_;
};

void check(const std::string& name) {
  VitGolden golden(name);
  golden.check();
  golden.check_maps();
  golden.finish();
}

}  // namespace

TEST_CASE("golden: DINO's ViT") {
  for (const char* name : {"dino_32x32", "dino_48x40", "dino_32x48"}) check(name);
}
TEST_CASE("golden: timm's ViT") {
  for (const char* name : {"timm_32x32", "timm_48x40", "timm_24x24"}) check(name);
}
TEST_CASE("golden: torchvision's ViT") { check("torchvision_32x32"); }
TEST_CASE("golden: CLIP's visual transformer") { check("clip_32x32"); }
TEST_CASE("golden: SimpleViT") {
  for (const char* name : {"simple_vit_32x32", "simple_vit_48x40"}) check(name);
}
TEST_CASE("golden: B-cos SimpleViT") {
  for (const char* name : {"bcos_simple_vit_32x32", "bcos_simple_vit_48x40"}) check(name);
}
TEST_CASE("golden: ViT-C") {
  for (const char* name : {"vitc_32x32", "vitc_48x40"}) check(name);
}
TEST_CASE("golden: B-cos ViT-C") {
  for (const char* name : {"bcos_vitc_32x32", "bcos_vitc_48x40"}) check(name);
}

}  // namespace hp::golden
