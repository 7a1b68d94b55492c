#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "attribution/composites.h"
#include "attribution/rules/activation_rules.h"
#include "attribution/rules/linear_rules.h"
#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/propagator.h"
#include "tests/golden/checks.h"
#include "tests/golden/formula.h"
#include "tests/golden/reference_network.h"

namespace hp::golden {

namespace {

// What the entries NODE/INPUT/... have in common.
struct NodeCase {
  std::string prefix, node, op, input;
  Shape shape;                       // of each operand
  std::set<std::string> quantities;  // without the operand's number
  bool is_add() const { return op == "add"; }
  int operands() const { return is_add() ? 2 : 1; }
};

Shape shape_from(const nlohmann::json& extents) {
  const auto values = extents.get<std::vector<int64_t>>();
  return Shape(std::span<const int64_t>(values));
}

std::map<std::string, NodeCase> cases_of(const GoldenFile& file) {
  std::map<std::string, NodeCase> cases;
  for (const auto& [name, entry] : file.entries()) {
    const std::string prefix = entry.text("node") + "/" + entry.text("input");
    NodeCase& found = cases[prefix];
    found.prefix = prefix;
    found.node = entry.text("node"), found.op = entry.text("op"), found.input = entry.text("input");
    found.shape = shape_from(entry.about.at("geometry").at("input"));
    std::string quantity = entry.text("quantity");
    if (found.is_add() && quantity != "forward") quantity.pop_back();
    found.quantities.insert(quantity);
  }
  return cases;
}

std::vector<Tensor> operands_of(const NodeCase& node) {
  const auto size = static_cast<size_t>(node.shape.count());
  if (node.is_add()) {
    return {Tensor::host(node.shape, relu_tensor(node.prefix + "/x0", size)),
            Tensor::host(node.shape, signed_tensor(node.prefix + "/x1", size))};
  }
  const auto make = node.input == "image"  ? normalised_image_tensor
                    : node.input == "relu" ? relu_tensor
                                           : signed_tensor;
  return {Tensor::host(node.shape, make(node.prefix + "/x", size))};
}

struct LoneNode {
  Graph graph;
  std::vector<int> operands;
  int output = -1;
};

// A node of the network (a shortcut's three) with inputs of its own; `nonnegative`: the first is known to be >= 0.
LoneNode lone_node(const Graph& network, const NodeCase& node, bool nonnegative) {
  std::vector<std::string> chain = {node.node};
  if (node.op == "shortcut_a") chain = {node.node + ".rows", node.node + ".columns", node.node + ".pad"};
  LoneNode lone;
  for (int i = 0; i < node.operands(); ++i) {
    lone.operands.push_back(lone.graph.input(fmt::format("x{}", i), node.shape, nonnegative && i == 0).index);
  }
  for (const std::string& name : chain) {
    const Node& original = network.node(network.find(name));
    std::vector<Value> inputs;
    for (size_t i = 0; i < original.inputs.size(); ++i) {
      const Node& input = network.node(original.inputs[i]);
      const bool is_data = original.op->role(static_cast<int>(i)) == Role::data;
      const Value data{lone.output < 0 && is_data ? lone.operands[i] : lone.output};
      inputs.push_back(is_data ? data : lone.graph.parameter(input.name, input.shape));
    }
    lone.output = lone.graph.add(original.op, inputs, name).index;
  }
  return lone;
}

// Messages of `vjp` and `guided` are compared as they are, all others as relevance.
bool is_gradient(const std::string& quantity) { return quantity == "vjp" || quantity == "guided"; }

RulePtr rule_of(const std::string& quantity, Form form, const InputBox& box) {
  const rules::LinearOptions options{.form = form};
  if (quantity == "vjp" || quantity == "relevance_vjp") return std::make_shared<VjpRule>(form);
  if (quantity == "guided") return rules::guided_relu();
  if (quantity == "epsilon") return rules::epsilon(options);
  if (quantity == "norm") return rules::norm(options);
  if (quantity == "gamma") return rules::gamma(0.25f, options);
  if (quantity == "zplus") return rules::z_plus(options);
  if (quantity == "alphabeta") return rules::alpha_beta(2, 1, options);
  if (quantity == "wsquare") return rules::w_square(options);
  if (quantity == "flat") return rules::flat(options);
  if (quantity == "zbox") return rules::z_box(box.low, box.high, options);
  fail("[golden] no rule for the quantity; got {}; expected one of README.md", quantity);
}

Tensor product(const Tensor& a, const Tensor& b) {
  Tensor result = Tensor::host(a.shape());
  std::transform(a.floats(), a.floats() + a.count(), b.floats(), result.floats(), std::multiplies<>());
  return result;
}

class NodeChecks {
 public:
  explicit NodeChecks(const ReferenceNetwork& network)
      : folded_(fold_norms(network.with_classifier(), network.parameters)) {
    auto values = [&](const char* name) {
      const Tensor& tensor = network.parameters.at(name);
      return std::span<const float>(tensor.floats(), static_cast<size_t>(tensor.count()));
    };
    box_ = normalised_box(values("model_input.mean"), values("model_input.variance"));
  }

  // `nonnegative`: the rules may know that the first operand is >= 0.
  void check(Comparison& comparison, const NodeCase& node, bool nonnegative) {
    const LoneNode lone = lone_node(folded_.graph, node, nonnegative);
    const std::vector<Tensor> operands = operands_of(node);
    Executor executor(lone.graph, folded_.parameters, kernels_, Keep::everything);
    const Activations activations = executor.run(operands);
    const Tensor& y = activations.value(lone.output);
    comparison.check(node.prefix + "/forward", y);
    const Tensor message = Tensor::host(y.shape(), signed_tensor(node.prefix + "/M", static_cast<size_t>(y.count())));
    for (const std::string& quantity : node.quantities) {
      if (quantity == "forward") continue;
      for (const Form form : {Form::multiplier, Form::relevance}) {
        if (is_gradient(quantity) && form == Form::relevance) continue;
        const std::string how = fmt::format("{}, {}", form == Form::multiplier ? "multipliers" : "relevance",
                                            nonnegative ? "x >= 0 known" : "any x");
        const std::vector<Tensor> results = pull(lone, activations, message, quantity, form);
        for (size_t i = 0; i < results.size(); ++i) {
          const std::string operand = node.is_add() ? fmt::format("{}", i) : "";
          comparison.check(fmt::format("{}/{}{}", node.prefix, quantity, operand), results[i], how);
        }
      }
    }
  }

 private:
  // The message of each operand, as the quantity's entries have it.
  std::vector<Tensor> pull(const LoneNode& lone, const Activations& activations, const Tensor& message,
                           const std::string& quantity, Form form) {
    const Entry entry{lone.output, {message, Form::multiplier, 1}};
    std::vector<Tap> taps(lone.operands.size());
    for (size_t i = 0; i < taps.size(); ++i) taps[i].node = lone.operands[i];
    Propagator propagator(lone.graph, Composite().otherwise(rule_of(quantity, form, box_)), kernels_);
    const RelevanceTrace trace = propagator.run(activations, std::span(&entry, 1), taps);
    std::vector<Tensor> results(taps.size());
    for (size_t i = 0; i < taps.size(); ++i) {
      const Message& in = trace.at(taps[i].node);
      const bool as_is = in.form == Form::relevance || is_gradient(quantity);
      results[i] = as_is ? in.data : product(in.data, activations.value(taps[i].node));
    }
    return results;
  }

  Folded folded_;
  CpuKernels kernels_;
  InputBox box_;
};

}  // namespace

void check_nodes(const std::string& name, const std::vector<std::string>& parts) {
  const std::optional<ReferenceNetwork> network = reference_network(name);
  if (!network) return;
  NodeChecks checks(*network);
  for (const std::string& part : parts) {
    const GoldenFile file(fmt::format("{}_{}", name, part));
    Comparison comparison(file);
    for (const auto& [prefix, node] : cases_of(file)) {
      checks.check(comparison, node, false);
      if (node.input == "relu") checks.check(comparison, node, true);
    }
    comparison.finish();
  }
}

}  // namespace hp::golden
