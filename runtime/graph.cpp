#include "runtime/graph.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

Value Graph::input(const std::string& name, Shape shape, bool is_nonnegative) {
  Node node{.op = nullptr, .kind = OpKind::input, .name = name, .inputs = {}, .consumers = {}, .shape = shape};
  node.is_nonnegative = is_nonnegative;
  return append(std::move(node));
}

Value Graph::parameter(const std::string& name, Shape shape) {
  return append({.op = nullptr,
                 .kind = OpKind::parameter,
                 .name = name,
                 .inputs = {},
                 .consumers = {},
                 .shape = shape,
                 .is_constant = true});
}

Value Graph::add(OpPtr op, const std::vector<Value>& inputs, const std::string& name) {
  Node node{.op = std::move(op), .kind = OpKind::input, .name = name, .inputs = {}, .consumers = {}, .shape = {}};
  node.kind = node.op->kind();
  node.is_constant = true;
  std::vector<Shape> shapes;
  for (Value value : inputs) {
    require(value.index >= 0 && value.index < size(),
            "[graph] node '{}' uses a value of another graph; got index {}; expected 0..{}", name, value.index,
            size() - 1);
    node.inputs.push_back(value.index);
    node.is_constant = node.is_constant && this->node(value.index).is_constant;
    shapes.push_back(this->node(value.index).shape);
  }
  try {
    node.shape = node.op->infer(shapes);
  } catch (const Error& error) {
    fail("{} (at node '{}')", error.what(), name);
  }
  return append(std::move(node));
}

Value Graph::append(Node node) {
  const int index = size();
  require(by_name_.emplace(node.name, index).second, "[graph] name taken; got a second '{}'; expected unique names",
          node.name);
  for (int input : node.inputs) nodes_[static_cast<size_t>(input)].consumers.push_back(index);
  nodes_.push_back(std::move(node));
  return {index};
}

void Graph::alias(const std::string& name, Value value) {
  require(by_name_.emplace(name, value.index).second, "[graph] name taken; got a second '{}'; expected unique names",
          name);
}

std::vector<int> Graph::inputs() const {
  std::vector<int> found;
  for (int i = 0; i < size(); ++i) {
    if (node(i).kind == OpKind::input) found.push_back(i);
  }
  return found;
}

int Graph::find(std::string_view name) const {
  auto found = by_name_.find(name);
  if (found != by_name_.end()) return found->second;
  // The neighbours in alphabetical order are what a typing error or a wrong block number is close to.
  auto next = by_name_.lower_bound(name);
  std::string near = next != by_name_.end() ? next->first : "";
  if (next != by_name_.begin()) near = std::prev(next)->first + (near.empty() ? "" : ", ") + near;
  fail("[graph] no such node; got '{}'; expected a name of the graph (near: {})", name, near);
}

std::vector<int> Graph::match(std::string_view pattern) const {
  std::vector<int> found;
  for (const auto& [name, index] : by_name_) {
    if (node(index).op && glob(pattern, name)) found.push_back(index);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::vector<Shape> Graph::input_shapes(int index) const {
  std::vector<Shape> shapes;
  for (int input : node(index).inputs) shapes.push_back(node(input).shape);
  return shapes;
}

Graph Graph::with_batch(int64_t batch) const {
  Graph graph;
  for (const Node& node : nodes_) {
    if (node.kind == OpKind::input) {
      graph.input(node.name, node.shape.with(0, batch), node.is_nonnegative);
    } else if (node.kind == OpKind::parameter) {
      graph.parameter(node.name, node.shape);
    } else {
      std::vector<Value> inputs;
      for (int input : node.inputs) inputs.push_back({input});
      graph.add(node.op, inputs, node.name);
    }
  }
  for (const auto& [name, index] : by_name_) {
    if (node(index).name != name) graph.alias(name, {index});
  }
  return graph;
}

std::string Graph::text() const {
  std::string text;
  for (int i = 0; i < size(); ++i) {
    const Node& n = node(i);
    if (n.kind == OpKind::parameter) continue;
    std::string inputs;
    for (int input : n.inputs) inputs += (inputs.empty() ? "" : ", ") + node(input).name;
    text += fmt::format("{:4} {:32} {:24} {:24} <- {}\n", i, n.name, n.op ? n.op->describe() : name_of(n.kind),
                        n.shape.str(), inputs);
  }
  return text;
}

std::string Graph::dot() const {
  std::string text = "digraph {\n  node [shape=box];\n";
  for (int i = 0; i < size(); ++i) {
    const Node& n = node(i);
    if (n.kind == OpKind::parameter) continue;
    text += fmt::format("  n{} [label=\"{}\\n{} {}\"];\n", i, n.name, n.op ? n.op->describe() : name_of(n.kind),
                        n.shape.str());
    for (int input : n.inputs) {
      if (node(input).kind != OpKind::parameter) text += fmt::format("  n{} -> n{};\n", input, i);
    }
  }
  return text + "}\n";
}

bool glob(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++p, ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++, resume = t;
    } else if (star != std::string_view::npos) {
      p = star + 1, t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace hp
