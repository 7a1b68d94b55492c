// Rule: what happens to a message at one node. Composite: which rule at which node. The default rule is the
// vector-Jacobian product.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "runtime/cost.h"
#include "runtime/executor.h"

namespace hp {

// A walk carries multipliers M or relevance R = M * value (specification: R-form and M-form). M needs no division at
// linear nodes.
enum class Form { multiplier, relevance };

// [targets * batch, ...]: targets outermost; element (t, b) is row t * batch + b.
struct Message {
  Tensor data;
  Form form = Form::multiplier;
  int targets = 1;
};

// Is the value of a node >= 0 for every image? Follows the graph upwards through ops that keep the sign.
bool is_nonnegative(const Graph& graph, int node);
// Does a ReLU behind the node take its value's place under Keep::everything, unless the node is pinned
// (runtime/plan.h)?
bool is_rectified(const Graph& graph, int node);

// A node as a rule sees it: the values of the forward pass and what the graph alone says about them.
class NodeView {
 public:
  NodeView(Context context, const Activations& activations, int index)
      : context(context), activations(activations), index(index) {}

  const Context context;
  const Activations& activations;
  const int index;

  const Node& node() const { return activations.graph().node(index); }
  const Op& op() const { return *node().op; }
  std::vector<Operand> inputs() const { return activations.inputs(index); }
  Operand input(int which) const { return activations.operand(node().inputs[static_cast<size_t>(which)]); }
  Tensor output() const { return activations.value(index); }
  Tensor saved() const { return activations.saved(index); }
  // All of it for a vector-Jacobian product: the shape alone where nothing was kept, which it then does not read.
  std::vector<Operand> kept_inputs() const;
  Tensor kept_output() const;
  bool nonnegative(int which) const;  // input `which` is >= 0 whatever the image
  bool only_into_relu()
      const;  // the output goes to a ReLU and nowhere else: in M-form no message arrives where it is <= 0

 private:
  Tensor shape_only(int node) const;
};

class Rule {
 public:
  virtual ~Rule() = default;
  virtual std::string name() const = 0;  // "gamma(0.25)"
  virtual Form takes() const { return Form::multiplier; }
  virtual Form gives() const { return takes(); }
  // False for rules whose relevance is not a multiple of the input's value (zB, w2, flat): it cannot become a
  // multiplier again.
  virtual bool gives_multiple_of_input() const { return true; }
  // Why the rule makes no sense at this node, as the end of an error message: "got ...; expected ..."; empty if it
  // does.
  virtual std::string objection(const Graph&, int) const { return {}; }

  // What does not depend on the target (denominators, ratios): computed once per forward pass, kept in the walk's
  // arena.
  virtual std::vector<Shape> prepared_shapes(const NodeView&) const { return {}; }
  virtual void prepare(const NodeView&, std::span<Tensor>) const {}
  // Overwrites `in` with the message of input `which`, given that of the output.
  virtual void pull(const NodeView&, std::span<const Tensor> prepared, const Message& out, int which,
                    Tensor in) const = 0;
  // False where the rule has no message for an input: the walk then does not go there, and pull is not called for it.
  virtual bool carries(const Graph&, int, int) const { return true; }
  // What prepare, pull and a change of form need of the data that went through the node.
  virtual Reads reads(const Graph&, int) const { return Reads::everything; }
  // True where the messages of several inputs come out of one computation: pull_together overwrites those of `in` that
  // are not empty.
  virtual bool pulls_together(const Graph&, int) const { return false; }
  virtual void pull_together(const NodeView&, const Message& out, std::span<const Tensor> in) const {
    (void)out, (void)in;
  }
  // True where all inputs get the same message, an elementwise function of the output's. Then `in` may be the output's
  // own message, and pull is called for one input only.
  virtual bool works_in_place(const Graph&, int) const { return false; }

  // What `prepare` does for one forward pass, and `pull` for one input and message, from shapes alone. As it stands:
  // nothing, and the vector-Jacobian product.
  virtual Cost prepare_cost(const Graph&, int) const { return {}; }
  virtual Cost pull_cost(const Graph& graph, int node, int which, int targets) const;
};

using RulePtr = std::shared_ptr<const Rule>;

// The vector-Jacobian product. On relevance it is what libraries do with modules they have no rule for; that is offered
// only for ops that move values (max pool, concat, slice, pad, reshape, add) and refused for the others.
class VjpRule final : public Rule {
 public:
  explicit VjpRule(Form form = Form::multiplier) : form_(form) {}
  std::string name() const override { return form_ == Form::multiplier ? "vjp" : "vjp on relevance"; }
  Form takes() const override { return form_; }
  std::string objection(const Graph& graph, int node) const override;
  void pull(const NodeView&, std::span<const Tensor> prepared, const Message& out, int which, Tensor in) const override;
  Reads reads(const Graph& graph, int node) const override;
  bool pulls_together(const Graph& graph, int node) const override;
  void pull_together(const NodeView&, const Message& out, std::span<const Tensor> in) const override;
  bool works_in_place(const Graph& graph, int node) const override;

 private:
  Form form_;
};

// The rule's name without its settings and blanks, for the names of its work (runtime/observer.h): "gamma".
std::string short_name(const Rule& rule);

// A rule per node with the reason why it was chosen: "name layer4.*", "first conv2d", "kind relu", "default".
struct Choice {
  RulePtr rule;
  std::string reason;
};

// By node: values that no rule reads in a walk towards data. A pass for such walks alone need not keep them.
std::vector<bool> unread(const Graph& graph, std::span<const Choice> choices);

// Ordered: name patterns first, then the first op of some kinds that the data meets, then kinds, then the default.
// Among name patterns the first that fits wins; among the others a later one replaces an earlier one. A pattern with a
// wildcard passes over nodes that its rule objects to; everywhere else an objection is an error.
class Composite {
 public:
  Composite& at(std::string pattern, RulePtr rule);
  Composite& first(OpKind kind, RulePtr rule) { return first(std::set<OpKind>{kind}, std::move(rule)); }
  Composite& first(std::set<OpKind> kinds, RulePtr rule);
  Composite& on(OpKind kind, RulePtr rule);
  Composite& otherwise(RulePtr rule);
  // The rules read values before their ReLU, also where they are <= 0, and scores of attention before their softmax:
  // such values must be pinned (see pins()).
  Composite& reads_preactivations();

  // The same rules without those for first ops: for a head, whose first op is not the network's.
  Composite without_first() const;

  // One choice per node; nodes without an op have none, constants the vector-Jacobian product. Throws hp::Error if a
  // rule does not fit its node.
  std::vector<Choice> assign(const Graph& graph) const;
  std::vector<int> pins(const Graph& graph) const;  // nodes that an Executor must pin for this composite

 private:
  struct Found;  // what the patterns and the first ops are in one graph
  Choice choose(const Graph& graph, int node, const Found& found) const;

  std::vector<std::pair<std::string, RulePtr>> patterns_;
  std::map<std::set<OpKind>, RulePtr> first_;
  std::map<OpKind, RulePtr> kinds_;
  RulePtr default_ = std::make_shared<VjpRule>();
  bool preactivations_ = false;
};

}  // namespace hp
