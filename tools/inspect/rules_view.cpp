// hp-inspect rules.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "attribution/walk_cost.h"
#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/inspect/views.h"
#include "tools/text/table.h"
#include "tools/text/units.h"

namespace hp {

namespace {

// A rule at one node, or at all nodes that have it for the same reason.
struct RuleLine {
  std::string node, op, rule, reason;
  int64_t nodes = 1;
  double forward = 0;  // FLOPs of the nodes themselves
  Cost prepare, per_target;
};

void add_lines(const Graph& graph, const Composite& composite, const std::string& to, std::vector<RuleLine>& lines) {
  const std::vector<NodeRule> rules = node_rules(graph, composite, graph.find(to));
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {  // in the order of the walk
    const Node& node = graph.node(rule->node);
    lines.push_back({node.name, node.op->describe(), rule->choice.rule->name(), rule->choice.reason, 1,
                     forward_cost(graph, rule->node).flops, rule->prepare, rule->per_target});
  }
}

std::vector<RuleLine> lines_of(const Model& model, const CompositeSpec& spec) {
  std::vector<const Graph*> graphs{&model.backbone()};
  if (model.probe) graphs.push_back(&model.head);
  for (const std::string& pattern : unused_patterns(spec, graphs))
    fail("[composite] no such node; got {}; expected names or patterns of nodes: see hp-inspect graph {} --all",
         printable(pattern), model.name);
  const Composite composite = spec.build(model.box());
  std::vector<RuleLine> lines;
  if (model.probe) add_lines(model.head, composite.without_first(), "features", lines);
  add_lines(model.backbone(), composite, "model_input", lines);
  return lines;
}

std::vector<RuleLine> by_rule(const std::vector<RuleLine>& lines) {
  std::vector<RuleLine> groups;
  for (const RuleLine& line : lines) {
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const RuleLine& g) { return g.rule == line.rule && g.reason == line.reason; });
    if (group == groups.end()) {
      groups.push_back(line);
      continue;
    }
    group->nodes += 1;
    group->forward += line.forward;
    group->prepare += line.prepare;
    group->per_target += line.per_target;
  }
  return groups;
}

RuleLine sum_of(const std::vector<RuleLine>& lines) {
  RuleLine sum;
  for (const RuleLine& line : lines) {
    sum.forward += line.forward;
    sum.prepare += line.prepare;
    sum.per_target += line.per_target;
  }
  return sum;
}

// In units of the whole forward pass, per cent.
std::string share(double flops, double forward) {
  return flops > 0 && forward > 0 ? fmt::format("{:.1f} %", 100 * flops / forward) : "-";
}

std::string text_view(const Model& model, const std::string& composite, const std::vector<RuleLine>& lines, bool all) {
  const RuleLine sum = sum_of(lines);
  const double forward = std::max(sum.forward, 1.0);
  std::string text =
      fmt::format("{} on {}\na forward pass is {}; the rules prepare {:.2f} of it, each target takes {:.2f}\n\n",
                  plain(composite, 60), model.network.architecture, flops_text(sum.forward),
                  sum.prepare.flops / forward, sum.per_target.flops / forward);
  TextTable table(all ? std::vector<std::string>{"node", "rule", "chosen for", "forward", "prepare", "each target"}
                      : std::vector<std::string>{"rule", "chosen for", "nodes", "forward", "prepare", "each target"},
                  all ? 3 : 2);
  for (const RuleLine& line : all ? lines : by_rule(lines)) {
    std::vector<std::string> row = all ? std::vector<std::string>{plain(line.node, 28)} : std::vector<std::string>();
    row.insert(row.end(), {plain(line.rule, all ? 22 : 30), plain(line.reason, all ? 22 : 30)});
    if (!all) row.push_back(std::to_string(line.nodes));
    for (const double flops : {line.forward, line.prepare.flops, line.per_target.flops})
      row.push_back(share(flops, forward));
    table.add(std::move(row));
  }
  text += table.text();
  if (all) return text;
  return text + fmt::format(
                    "\nFLOPs in per cent of the forward pass; \"prepare\" once an image, the rest for every target.\n"
                    "next: hp-inspect rules {} {} --all  every node\n",
                    model.name, composite.starts_with('{') ? "'" + composite + "'" : composite);
}

std::string json_view(const Model& model, const std::vector<RuleLine>& lines) {
  const auto cost = [](const Cost& c) { return nlohmann::json{{"flops", c.flops}, {"bytes", c.bytes}}; };
  nlohmann::json json = {{"architecture", model.network.architecture}, {"nodes", nlohmann::json::array()}};
  for (const RuleLine& line : lines) {
    json["nodes"].push_back({{"name", line.node},
                             {"op", line.op},
                             {"rule", line.rule},
                             {"reason", line.reason},
                             {"prepare", cost(line.prepare)},
                             {"per_target", cost(line.per_target)}});
  }
  return json.dump(2) + "\n";
}

}  // namespace

std::string rules_view(const Model& model, const std::string& composite, const ViewOptions& options) {
  require(options.format != Format::dot, "[inspect] rules have no picture; got --format dot; expected text or json");
  const std::vector<RuleLine> lines = lines_of(model, parse_composite(composite));
  return options.format == Format::json ? json_view(model, lines) : text_view(model, composite, lines, options.all);
}

}  // namespace hp
