// hp-inspect graph.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/cost.h"
#include "runtime/text.h"
#include "tools/inspect/views.h"
#include "tools/text/table.h"
#include "tools/text/units.h"

namespace hp {

namespace {

constexpr size_t widest_name = 34;

// One node, or several neighbours of one stage.
struct NodeLine {
  std::string name, op;
  int64_t nodes = 0;
  Shape output;
  int64_t parameters = 0;
  Cost cost;
};

int64_t parameters_of(const Graph& graph, int node) {
  int64_t count = 0;
  for (int input : graph.node(node).inputs) {
    if (graph.node(input).kind == OpKind::parameter) count += graph.node(input).shape.count();
  }
  return count;
}

// Every node but the parameters; the classifier's features are the backbone's.
std::vector<NodeLine> node_lines(const Model& model) {
  std::vector<NodeLine> lines;
  const auto add = [&](const Graph& graph, bool with_inputs) {
    for (int i = 0; i < graph.size(); ++i) {
      const Node& node = graph.node(i);
      if (node.kind == OpKind::parameter || (node.kind == OpKind::input && !with_inputs)) continue;
      lines.push_back({node.name, node.op ? node.op->describe() : std::string(name_of(node.kind)), 1, node.shape,
                       parameters_of(graph, i), forward_cost(graph, i)});
    }
  };
  add(model.backbone(), true);
  add(model.head, false);
  return lines;
}

std::vector<NodeLine> stage_lines(const std::vector<NodeLine>& nodes) {
  std::vector<NodeLine> stages;
  for (const NodeLine& node : nodes) {
    if (stages.empty() || stages.back().name != stage_of(node.name)) {
      stages.push_back(node);
      stages.back().name = stage_of(node.name);
      continue;
    }
    NodeLine& stage = stages.back();
    stage.nodes += 1;
    stage.output = node.output;
    stage.parameters += node.parameters;
    stage.cost += node.cost;
  }
  return stages;
}

NodeLine sum_of(const std::vector<NodeLine>& lines) {
  NodeLine sum{"all", "", 0, {}, 0, {}};
  for (const NodeLine& line : lines) {
    sum.nodes += line.nodes;
    sum.parameters += line.parameters;
    sum.cost += line.cost;
  }
  return sum;
}

std::string parameters_text(int64_t count) { return count ? count_text(count) : "-"; }

std::string text_view(const Model& model, bool all) {
  const std::vector<NodeLine> nodes = node_lines(model);
  const NodeLine sum = sum_of(nodes);
  const auto [batch, height, width] = model.network.shape;
  std::string text =
      fmt::format("{}, one {}x{} image: {} parameters, {}, {} read and written\n\n", model.network.architecture, width,
                  height, count_text(sum.parameters), flops_text(sum.cost.flops), bytes_text(sum.cost.bytes));
  TextTable table(all ? std::vector<std::string>{"node", "op", "output", "parameters", "FLOPs", "bytes"}
                      : std::vector<std::string>{"stage", "nodes", "output", "parameters", "FLOPs", "bytes"},
                  all ? 2 : 1);
  for (const NodeLine& line : all ? nodes : stage_lines(nodes)) {
    table.add({plain(line.name, widest_name), all ? plain(line.op, 22) : std::to_string(line.nodes),
               shape_text(line.output), parameters_text(line.parameters), flops_text(line.cost.flops),
               bytes_text(line.cost.bytes)});
  }
  text += table.text();
  if (!all) {
    text += fmt::format(
        "\nnext: hp-inspect graph {0} --all              every node\n"
        "      hp-inspect graph {0} --format dot       for Graphviz\n"
        "      hp-inspect rules {0} epsilon_gamma_box  which rule of relevance where\n",
        model.name);
  }
  return text;
}

nlohmann::json json_of(const NodeLine& line) {
  const std::span<const int64_t> extents = line.output.extents();
  return {{"name", line.name},
          {"op", line.op},
          {"shape", std::vector<int64_t>(extents.begin(), extents.end())},
          {"parameters", line.parameters},
          {"flops", line.cost.flops},
          {"bytes", line.cost.bytes}};
}

std::string json_view(const Model& model) {
  const std::vector<NodeLine> nodes = node_lines(model);
  const NodeLine sum = sum_of(nodes);
  nlohmann::json json = {{"architecture", model.network.architecture},
                         {"image", {{"height", model.network.shape.height}, {"width", model.network.shape.width}}},
                         {"parameters", sum.parameters},
                         {"flops", sum.cost.flops},
                         {"bytes", sum.cost.bytes}};
  for (const NodeLine& line : nodes) json["nodes"].push_back(json_of(line));
  for (const Graph* graph : {&model.backbone(), &model.head}) {
    for (const Node& node : graph->nodes()) {
      for (int input : node.inputs) {
        if (graph->node(input).kind != OpKind::parameter) json["edges"].push_back({graph->node(input).name, node.name});
      }
    }
  }
  return json.dump(2) + "\n";
}

}  // namespace

std::string stage_of(const std::string& node) { return node.substr(0, node.find('.')); }

std::string shape_text(const Shape& shape) {
  std::string text;
  for (int axis = shape.rank() > 1 ? 1 : 0; axis < shape.rank(); ++axis)
    text += fmt::format("{}{}", text.empty() ? "" : "x", shape[axis]);
  return text.empty() ? "1" : text;
}

std::string graph_view(const Model& model, const ViewOptions& options) {
  if (options.format == Format::dot) return model.backbone().dot();
  return options.format == Format::json ? json_view(model) : text_view(model, options.all);
}

}  // namespace hp
