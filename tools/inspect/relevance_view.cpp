#include "tools/inspect/relevance_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/text/table.h"

namespace hp {

namespace {

constexpr double worth_naming = 0.01;  // of the logit, lost or created at one node
constexpr size_t most_channels = 3;

int target_of(const Probe& probe, const std::string& text) {
  if (text.empty()) return -1;
  const std::vector<std::string>& classes = probe.classes();
  const auto named = std::find(classes.begin(), classes.end(), text);
  if (named != classes.end()) return static_cast<int>(named - classes.begin());
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  require(error == std::errc() && end == text.data() + text.size() && number >= 0 && number < probe.class_count(),
          "[inspect] no such class; got {}; expected 0 to {}, or the name of a class that the probe's file knows",
          printable(text), probe.class_count() - 1);
  return number;
}

std::string class_text(const Probe& probe, int target) {
  const std::string& name = probe.classes()[static_cast<size_t>(target)];
  return name == std::to_string(target) ? fmt::format("class {}", target) : fmt::format("class {} ({})", target, name);
}

std::string number(double value) {
  return std::fabs(value) < 1e4 ? fmt::format("{:.4f}", value) : fmt::format("{:.3e}", value);
}

std::string top_channels(const NodeRelevance& node) {
  std::vector<size_t> order(node.channels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t count = std::min(most_channels, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(count), order.end(), [&](size_t a, size_t b) {
    const double left = std::fabs(node.channels[a]), right = std::fabs(node.channels[b]);
    return left > right || (left == right && a < b);
  });
  std::string text;
  for (size_t i = 0; i < count; ++i) text += (text.empty() ? "" : " ") + std::to_string(order[i]);
  return text;
}

std::string percent(double share) {
  return std::fabs(share) < 100 ? fmt::format("{:+.1f} %", 100 * share) : fmt::format("{:+.1e} %", 100 * share);
}

// How much a node loses or creates, for sorting: what is no number comes first.
double leak_size(const NodeRelevance& node) {
  return std::isnan(node.lost()) ? std::numeric_limits<double>::infinity() : std::fabs(node.lost());
}

std::string node_table(const RelevanceReport& report, std::span<const NodeRelevance* const> nodes) {
  TextTable table({"node", "rule", "sum", "positive", "negative", "since above", "top channels"}, 2);
  const NodeRelevance* above = nullptr;  // the last cut shown
  for (const NodeRelevance* node : nodes) {
    table.add({plain(node->node, 26), plain(node->rule.empty() ? "-" : node->rule, 16), number(node->sum),
               number(node->positive), number(node->negative),
               above && node->is_cut ? percent((node->sum - above->sum) / report.logit) : "-", top_channels(*node)});
    if (node->is_cut) above = node;
  }
  return table.text();
}

std::string rank_text(const RelevanceReport& report) {
  const auto higher = std::count_if(report.logits.begin(), report.logits.end(),
                                    [&](float logit) { return static_cast<double>(logit) > report.logit; });
  return higher == 0 ? "the highest" : fmt::format("number {}", higher + 1);
}

std::string text_view(const Model& model, const RelevanceRequest& request, const RelevanceReport& report,
                      std::span<const NodeRelevance* const> nodes) {
  std::string text =
      fmt::format("{} in {} by {}, {}\n{}: logit {:.4f}, {} of {}\n\n", plain(request.image.filename().string(), 30),
                  plain(model.name, 40), model.network.architecture, plain(request.composite, 30),
                  class_text(*model.probe, report.target), report.logit, rank_text(report), report.logits.size());
  text += node_table(report, nodes) + "\n" + conservation_text(report, request.view.all ? report.nodes.size() : 3) +
          softmax_text(report);
  if (!request.output.empty())
    return text + fmt::format("\nwritten: {}/overview.png and, per node, .npy and .png\n", request.output.string());
  return text + fmt::format(
                    "\nnext: add --output DIR for maps, --all or --layer 'layer3.*' for more nodes,\n"
                    "      --target N for another class, --composite NAME for other rules\n");
}

WalkPlan plan_of(const Model& model, const std::string& composite) {
  const CompositeSpec spec = parse_composite(composite);
  const Graph* graphs[] = {&model.backbone(), &model.head};
  for (const std::string& pattern : unused_patterns(spec, graphs))
    fail("[composite] no such node; got {}; expected names or patterns of nodes: see hp-inspect graph {} --all",
         printable(pattern), model.name);
  return {"inspect " + spec.key(), spec.build(model.box()), {}};
}

}  // namespace

std::vector<const NodeRelevance*> shown_nodes(const RelevanceReport& report, const Graph& backbone, const Graph& head,
                                              const std::string& layer, bool all) {
  std::set<std::string> wanted;
  for (const Graph* graph : {&backbone, &head}) {
    if (layer.empty()) continue;
    for (int node : graph->match(layer)) wanted.insert(graph->node(node).name);
  }
  std::vector<const NodeRelevance*> shown;
  for (const NodeRelevance& node : report.nodes) {
    const bool stage_begins = node.is_cut && (shown.empty() || stage_of(shown.back()->node) != stage_of(node.node));
    if (layer.empty() ? all || stage_begins : wanted.contains(node.node)) shown.push_back(&node);
  }
  require(!shown.empty(),
          "[inspect] no such node on the way of the relevance; got {}; expected a name or pattern: "
          "\"layer3.*\", see hp-inspect graph --all",
          printable(layer));
  return shown;
}

std::string conservation_text(const RelevanceReport& report, size_t most) {
  std::vector<const NodeRelevance*> leaks = report.leaks(worth_naming);
  std::string text = fmt::format("conservation: {} of the logit at the model input", percent(report.kept()));
  if (leaks.empty()) return text + fmt::format("; no node loses or creates more than {:.0f} %\n", 100 * worth_naming);
  const size_t count = leaks.size();
  std::stable_sort(leaks.begin(), leaks.end(),
                   [](const NodeRelevance* a, const NodeRelevance* b) { return leak_size(*a) > leak_size(*b); });
  leaks.resize(std::min(count, most));
  text +=
      fmt::format("; {} node{} more than {:.0f} %{}\n", count, count == 1 ? " loses or creates" : "s lose or create",
                  100 * worth_naming, count > most ? fmt::format(", the {} largest:", most) : ":");
  TextTable table({"node", "rule", "arrived", "handed on", "of the logit", "why"}, 2);
  bool biases = false;
  for (const NodeRelevance* node : leaks) {
    biases = biases || node->has_bias;
    table.add({plain(node->node, 28), plain(node->rule, 18), number(node->sum), number(node->handed_on),
               percent(-node->lost() / report.logit), node->has_bias ? "its bias, or the rule" : "the rule"});
  }
  text += table.text();
  if (biases) text += "Biases take their share of relevance: a loss where there is one need not be a mistake.\n";
  return text;
}

std::string softmax_text(const RelevanceReport& report) {
  const std::vector<const NodeRelevance*> softmaxes = report.softmaxes();
  if (softmaxes.empty()) return "";
  TextTable table({"node", "rule", "arrived", "handed on", "of the logit"}, 2);
  double created = 0;
  for (const NodeRelevance* node : softmaxes) {
    created -= node->lost();
    table.add({plain(node->node, 28), plain(node->rule, 18), number(node->sum), number(node->handed_on),
               percent(-node->lost() / report.logit)});
  }
  return fmt::format(
             "softmax: {} node{}, together {} of the logit (below 0: lost), which their rule does not conserve\n",
             softmaxes.size(), softmaxes.size() == 1 ? "" : "s", percent(created / report.logit)) +
         table.text();
}

std::string relevance_json(const Model& model, const RelevanceReport& report) {
  nlohmann::json json = {{"architecture", model.network.architecture},
                         {"target", report.target},
                         {"logit", report.logit},
                         {"logits", report.logits},
                         {"kept", report.kept()},
                         {"nodes", nlohmann::json::array()}};
  for (const NodeRelevance& node : report.nodes) {
    const std::span<const int64_t> extents = node.relevance.shape().extents();
    json["nodes"].push_back({{"name", node.node},
                             {"rule", node.rule},
                             {"shape", std::vector<int64_t>(extents.begin(), extents.end())},
                             {"cut", node.is_cut},
                             {"bias", node.has_bias},
                             {"softmax", node.is_softmax},
                             {"sum", node.sum},
                             {"positive", node.positive},
                             {"negative", node.negative},
                             {"handed_on", node.handed_on},
                             {"channels", node.channels}});
  }
  return json.dump(2) + "\n";
}

std::string relevance_view(const Model& model, const RelevanceRequest& request) {
  require(request.view.format != Format::dot,
          "[inspect] relevance is no graph; got --format dot; expected text or json, and --output for pictures");
  require(model.has_weights,
          "[inspect] relevance needs weights; got the architecture {}; expected a file made by "
          "convert-weights",
          model.name);
  require(model.probe.has_value(),
          "[inspect] {} came without a classifier; expected --probe FILE, a probe that hp-run "
          "trained on this backbone",
          model.name);
  const int target = target_of(*model.probe, request.target);
  const Tensor image = load_image(model, request.image);
  CpuKernels kernels;
  const Shape features = model.network.feature_shape();
  const Head head =
      model.probe->head({1, features[0], features[1], features[2]}, model.network.nonnegative_features(), kernels);
  Session session(model.network.folded, std::span(&head, 1), kernels);
  const RelevanceReport report = relevance_of(session, image, target, plan_of(model, request.composite));
  const std::vector<const NodeRelevance*> nodes =
      shown_nodes(report, model.backbone(), model.head, request.layer, request.view.all);
  if (!request.output.empty()) write_relevance(request.output, model, image, report, nodes);
  return request.view.format == Format::json ? relevance_json(model, report) : text_view(model, request, report, nodes);
}

}  // namespace hp
