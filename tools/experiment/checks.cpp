#include "tools/experiment/checks.h"

#include <algorithm>

#include "attribution/composites.h"
#include "attribution/method.h"
#include "attribution/methods/bcos.h"
#include "attribution/methods/gradcam.h"
#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/experiment/given_probes.h"
#include "tools/experiment/shift_run.h"

namespace hp {

namespace {

Probe untrained(const Experiment& experiment, const Network& network, const Dataset& images, size_t index) {
  const ProbeSpec& spec = experiment.probes[index];
  require(!spec.frozen || !experiment.probe_files[index].empty() || network.features == "auto",
          "[experiment] /probes/{}/head: the classifier of {} reads the network's own features; got backbone.features "
          "\"{}\"; expected \"auto\", or another head",
          index, network.architecture, network.features);
  if (std::optional<Probe> given = given_probe(experiment, network, images.classes(), index)) return std::move(*given);
  return Probe::fresh(spec, network.channels, images.classes(), experiment.seed);
}

// The probes as graphs, one after the other; what they hold does not matter here.
std::vector<Graph> check_probes(const Experiment& experiment, const Network& network, const SplitData& train) {
  const Shape map = network.feature_shape();
  std::vector<Graph> heads;
  for (size_t i = 0; i < experiment.probes.size(); ++i) {
    check_loss(experiment.probes[i].loss, train.labels);
    Graph& head = heads.emplace_back();
    untrained(experiment, network, *train.images, i).build(head, head.input("features", {1, map[0], map[1], map[2]}));
  }
  return heads;
}

// Rules that do not fit their nodes, and relevance that the rule of the node before cannot take as a multiplier.
void check_rules(const Composite& composite, const Graph& graph, int end, const std::string& path) {
  const std::vector<Choice> choices = composite.assign(graph);
  for (int i = end + 1; i < graph.size(); ++i) {
    const RulePtr& rule = choices[static_cast<size_t>(i)].rule;
    for (const int input : graph.node(i).inputs) {
      const RulePtr& next = choices[static_cast<size_t>(input)].rule;
      if (!rule || !next || input <= end) continue;
      require(rule->gives() == next->takes() || rule->gives() == Form::multiplier || rule->gives_multiple_of_input(),
              "[experiment] {}: relevance of rule {} at '{}' cannot go on as a multiplier; got {} at '{}'; expected {} "
              "at the first layer only",
              path, rule->name(), graph.node(i).name, next->name(), graph.node(input).name, rule->name());
    }
  }
}

InputBox input_box(const Parameters& parameters) {
  const auto values = [&](const char* name) {
    const Tensor& tensor = parameters.at(name);
    return std::span<const float>(tensor.floats(), static_cast<size_t>(tensor.count()));
  };
  return normalised_box(values("model_input.mean"), values("model_input.variance"));
}

// Patterns of a composite's rules that fit nothing, neither in the backbone nor in a head.
void check_patterns(const CompositeSpec& spec, const std::string& path, std::span<const Graph* const> graphs) {
  const std::vector<std::string> unused = unused_patterns(spec, graphs);
  if (unused.empty()) return;
  std::vector<std::string> names;
  for (const auto& [name, node] : graphs.front()->names()) names.push_back(name);
  for (size_t i = 0; i < spec.rules.size(); ++i) {
    const RuleSpec& rule = spec.rules[i];
    if (rule.place != RuleSpec::Place::at || rule.where != unused.front()) continue;
    const std::string near = nearest_word(rule.where, names);
    fail("[experiment] {}/rules/{}/at: no such node; got {}; expected names of the backbone or its heads{}", path, i,
         printable(rule.where), near.empty() ? "" : " (did you mean " + near + "?)");
  }
}

void check_layer(const Graph& graph, const std::string& layer, const std::string& path) {
  std::vector<std::string> names;
  for (const auto& [name, node] : graph.names()) names.push_back(name);
  const std::string near = nearest_word(layer, names);
  require(graph.contains(layer), "[experiment] {}: no such node; got {}; expected a feature map of the backbone{}",
          path, printable(layer), near.empty() ? "" : " (did you mean " + near + "?)");
  const Node& node = graph.node(graph.find(layer));
  require(node.op && has_positions(graph, graph.find(layer)),
          "[experiment] {}: no feature map; got {} of {}; expected a convolution, what follows one, or tokens", path,
          printable(layer), node.shape.str());
}

void check_attributions(const Experiment& experiment, const Network& network, std::span<const Graph> heads) {
  const Graph& backbone = network.folded.graph;
  std::vector<const Graph*> graphs{&backbone};
  for (const Graph& head : heads) graphs.push_back(&head);
  for (size_t i = 0; i < experiment.attributions.size(); ++i) {
    const AttributionSpec& attribution = experiment.attributions[i];
    const std::string path = fmt::format("/attributions/{}", i);
    const std::string near = nearest_word(attribution.method, attribution_names());
    const std::vector<std::string> known = attribution_names();
    require(std::find(known.begin(), known.end(), attribution.method) != known.end(),
            "[experiment] {}/method: unknown method; got {}; expected one of {}{}", path, printable(attribution.method),
            fmt::join(known, ", "), near.empty() ? "" : " (did you mean " + near + "?)");
    try {
      make_attribution(attribution.method, attribution.options);
    } catch (const Error& error) {
      fail("[experiment] {}/options: {}", path, error.what());
    }
    try {
      if (attribution.method == "bcos") require_bcos(backbone);
    } catch (const Error& error) {
      fail("[experiment] {}/method: {}", path, error.what());
    }
    const nlohmann::json& options = attribution.options;
    if (attribution.method == "gradcam" && options.contains("layer"))
      check_layer(backbone, options["layer"].get<std::string>(), path + "/options/layer");
    if (attribution.method == "lrp" && options.contains("composite")) {
      const CompositeSpec spec = CompositeSpec::parse(options["composite"], path + "/options/composite");
      check_patterns(spec, path + "/options/composite", graphs);
      check_rules(spec.build(input_box(network.folded.parameters)), backbone, backbone.find("model_input"),
                  path + "/options/composite");
    }
  }
}

void check_evaluation(const EvaluationSpec& evaluation, const Network& network, const Dataset& images, bool boxes) {
  require(evaluation.kind != EvaluationKind::epg || boxes,
          "[experiment] evaluation {} needs boxes; got data without any; expected annotated data such as voc, "
          "tiny-imagenet or scenes",
          evaluation.name);
  require(evaluation.kind != EvaluationKind::epg || evaluation.region != "mask" || images.has_masks(),
          "[experiment] evaluation {} needs masks; got data without any; expected scenes, or the region \"box\"",
          evaluation.name);
  require(!evaluation.images.grids || !images.multi_label(),
          "[experiment] evaluation {} needs one label an image; got multi-label data; expected epg there",
          evaluation.name);
  const int64_t cells = evaluation.images.cells * evaluation.images.cells;
  require(!evaluation.images.grids || cells <= static_cast<int64_t>(images.classes().size()),
          "[experiment] evaluation {} needs a class a cell; got {} cells for {} classes; expected fewer cells",
          evaluation.name, cells, images.classes().size());
  const int64_t side = evaluation.images.cells * std::min(network.shape.height, network.shape.width);
  require(evaluation.smoothing != "gauss129" || side > 128,
          "[experiment] evaluation {}: gauss129 needs maps with sides above 128; got {}; expected box5 there",
          evaluation.name, side);
}

// Probes are tested on pictures of the network's size, and train on such.
void check_augmentation(const Experiment& experiment, const Network& network) {
  const Augmentation& augmentation = experiment.augmentation;
  const int64_t side = augmentation.size;
  require(augmentation.crop == RandomCrop::none || side == 0 ||
              (side == network.shape.height && side == network.shape.width),
          "[experiment] /training/augment/size: other pictures than those to test on; got {}x{}; expected {}x{}, or 0 "
          "for their size",
          side, side, network.shape.width, network.shape.height);
}

}  // namespace

void check_experiment(const Experiment& experiment, const Network& network, const SplitData& train,
                      const SplitData& test) {
  require_same_classes(*train.images, *test.images);
  const std::vector<Graph> heads = check_probes(experiment, network, train);
  check_shift(experiment, train);
  check_augmentation(experiment, network);
  check_attributions(experiment, network, heads);
  for (const std::string& pattern : experiment.layers) {
    require(!network.folded.graph.match(pattern).empty(),
            "[experiment] /output/layers: no such node; got {}; expected names of the backbone, e.g. \"layer3.*\"",
            printable(pattern));
  }
  const bool boxes = test.images->has_boxes();
  for (const EvaluationSpec& evaluation : experiment.evaluations)
    check_evaluation(evaluation, network, *train.images, boxes);
}

}  // namespace hp
