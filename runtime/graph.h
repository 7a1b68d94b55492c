// Graph: a network as a vector of nodes in the order in which a builder made them, which is a topological order.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/op.h"

namespace hp {

// A value is the output of the node of the same index.
struct Value {
  int index = -1;
};

struct Node {
  OpPtr op;  // null for inputs and parameters
  OpKind kind;
  std::string name;
  std::vector<int> inputs;
  std::vector<int> consumers;
  Shape shape;
  bool is_constant = false;     // comes from parameters alone
  bool is_nonnegative = false;  // an input that is >= 0 for every image
};

class Graph {
 public:
  Value input(const std::string& name, Shape shape, bool is_nonnegative = false);
  Value parameter(const std::string& name, Shape shape);  // `name` is that of the tensor in Parameters
  // Infers the shape; throws hp::Error that names the node if the inputs do not fit or the name is taken.
  Value add(OpPtr op, const std::vector<Value>& inputs, const std::string& name);
  // A second name for a node: the name of a node that a rewrite merged into it.
  void alias(const std::string& name, Value value);

  const std::vector<Node>& nodes() const { return nodes_; }
  const Node& node(int index) const { return nodes_[static_cast<size_t>(index)]; }
  const Shape& shape(Value value) const { return node(value.index).shape; }
  int size() const { return static_cast<int>(nodes_.size()); }
  std::vector<int> inputs() const;  // the input nodes, in order
  bool contains(std::string_view name) const { return by_name_.find(name) != by_name_.end(); }
  int find(std::string_view name) const;  // by name or alias; throws hp::Error with the nearest names
  std::vector<int> match(
      std::string_view pattern) const;  // nodes with an op whose name or alias fits: "layer4.*.conv3"

  // Every name and alias with its node.
  const std::map<std::string, int, std::less<>>& names() const { return by_name_; }

  std::vector<Shape> input_shapes(int index) const;
  // The same network for another batch size: the outermost extent of every input becomes `batch`.
  Graph with_batch(int64_t batch) const;

  std::string text() const;  // one line a node
  std::string dot() const;   // Graphviz

 private:
  Value append(Node node);

  std::vector<Node> nodes_;
  std::map<std::string, int, std::less<>> by_name_;
};

// Shell-style match: '*' stands for any run of characters, '?' for one.
bool glob(std::string_view pattern, std::string_view text);

}  // namespace hp
