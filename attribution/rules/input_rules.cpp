// The rules of first layers: zB, w2 and flat. Their denominators are constants of weight and image size (zB: apart from
// z), kept with the weight; they give relevance, which is not a multiple of the input.
#include <fmt/ranges.h>

#include "attribution/rules/linear_rule.h"
#include "runtime/error.h"

namespace hp::rules {

namespace {

class InputRule : public LinearRule {
 public:
  using LinearRule::LinearRule;
  Form gives() const override { return Form::relevance; }
  bool gives_multiple_of_input() const override { return false; }
};

class WSquareRule final : public InputRule {
 public:
  using InputRule::InputRule;
  std::string name() const override { return named("w_square"); }

 protected:
  std::vector<AdjointTerm> adjoints(const LinearFacts&) const override { return {{0, Gate::all, derive::square}}; }

  void make_ratios(LinearNode& node, std::span<Tensor> ratios) const override {
    Tensor d = node.constant("w_square", {{{1}, derive::square}});
    const Tensor bias = options().zero_bias ? Tensor() : node.derived_bias(derive::square);
    if (!bias.empty()) {
      const Tensor sum = node.scratch(d.shape());
      node.kernels().combine(Binary::add, d.count(), bias.count(), d.floats(), bias.floats(), sum.floats());
      d = sum;
    }
    stabilised(node, d, ratios[0]);
  }
};

class FlatRule final : public InputRule {
 public:
  using InputRule::InputRule;
  std::string name() const override { return "flat"; }  // never with a bias

 protected:
  std::vector<AdjointTerm> adjoints(const LinearFacts&) const override { return {{0, Gate::all, derive::ones}}; }

  void make_ratios(LinearNode& node, std::span<Tensor> ratios) const override {
    stabilised(node, node.constant("flat", {{{1}, derive::ones}}), ratios[0]);
  }
};

// With w- = w - w+: R = (x - high) g + (high - low) g_positive, where g and g_positive are the adjoints with w and w+.
class ZBoxRule final : public InputRule {
 public:
  ZBoxRule(std::vector<float> low, std::vector<float> high, const LinearOptions& options)
      : InputRule(options), low_(std::move(low)), high_(std::move(high)) {
    require(
        !low_.empty() && low_.size() == high_.size(),
        "[rule] z_box bounds do not fit each other; got {} low and {} high values; expected one of each per channel",
        low_.size(), high_.size());
    for (size_t i = 0; i < low_.size(); ++i) {
      require(low_[i] <= high_[i], "[rule] z_box bounds are swapped in channel {}; got low {} and high {}", i, low_[i],
              high_[i]);
    }
    key_ = fmt::format("z_box [{}] [{}]", fmt::join(low_, " "), fmt::join(high_, " "));
  }
  std::string name() const override { return "z_box"; }  // its denominator is free of the bias

  std::vector<Shape> prepared_shapes(const NodeView& view) const override {
    const Shape channels{view.input(0).tensor.shape().columns()};
    return {view.output().shape(), channels, channels};
  }

  void pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
            Tensor in) const override {
    require(which == 0, "[rule] z_box carries no relevance to input {} of '{}'; expected its data", which,
            view.node().name);
    LinearNode node(view);
    const Tensor message = node.scratch(out.data.shape());
    weigh(node, prepared, 0, out.data, message);
    const Tensor all = node.scratch(in.shape()), positive = node.scratch(in.shape());
    node.adjoint(message, out.targets, which, derive::identity, all);
    node.adjoint(message, out.targets, which, derive::positive, positive);
    const Tensor x = view.input(0).tensor;
    node.kernels().box_relevance({x.shape().rows(), x.shape().columns()}, out.targets, prepared[1].floats(),
                                 prepared[2].floats(), x.floats(), all.floats(), positive.floats(), in.floats());
  }

  Cost prepare_cost(const Graph& graph, int node) const override {
    return {0, 3.0 * value_bytes(graph, node)};  // z - corners, then the ratio
  }
  Cost pull_cost(const Graph& graph, int node, int which, int targets) const override {
    const double output = value_bytes(graph, node);
    const double input = value_bytes(graph, graph.node(node).inputs[static_cast<size_t>(which)]);
    const Cost products{0, (2.0 * targets + 1) * output + (3.0 * targets + 1) * input};
    return 2 * vjp_cost(graph, node, which, targets) + products;
  }

 protected:
  std::vector<AdjointTerm> adjoints(const LinearFacts&) const override { return {}; }  // pull has its own

  void make_ratios(LinearNode& node, std::span<Tensor> prepared) const override {
    upload(node, low_, prepared[1]);
    upload(node, high_, prepared[2]);
    const Tensor d = node.scratch(node.output().shape());
    const Tensor corners = node.constant(key_, {{low_, derive::positive}, {high_, derive::negative}});
    const Tensor linear = node.without_bias(node.output());
    node.kernels().combine(Binary::subtract, d.count(), corners.count(), linear.floats(), corners.floats(), d.floats());
    stabilised(node, d, prepared[0]);
  }

 private:
  static void upload(const LinearNode& node, const std::vector<float>& values, Tensor to) {
    std::vector<float> row = values;
    if (row.size() == 1) row.resize(static_cast<size_t>(to.count()), values[0]);
    require(static_cast<int64_t>(row.size()) == to.count(),
            "[rule] z_box at '{}': bounds do not fit; got {} values; expected {}, one per channel",
            node.view().node().name, row.size(), to.count());
    node.kernels().upload(row.data(), to.bytes(), to.floats());
  }

  std::vector<float> low_, high_;
  std::string key_;
};

}  // namespace

RulePtr z_box(std::vector<float> low, std::vector<float> high, LinearOptions options) {
  return std::make_shared<ZBoxRule>(std::move(low), std::move(high), options);
}

RulePtr w_square(LinearOptions options) { return std::make_shared<WSquareRule>(options); }

RulePtr flat(LinearOptions options) { return std::make_shared<FlatRule>(options); }

}  // namespace hp::rules
