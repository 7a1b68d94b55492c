#include "attribution/rules/attention_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/ops/layer_norm.h"

namespace hp::rules {

namespace {

// Chefer et al. divide by y + 1e-9.
constexpr float tiny = 1e-9f;

std::string unless_one_of(const Graph& graph, int node, std::initializer_list<OpKind> kinds, const char* expected) {
  const OpKind kind = graph.node(node).kind;
  if (std::ranges::find(kinds, kind) != kinds.end()) return {};
  return fmt::format("got {}; expected {}", name_of(kind), expected);
}

std::string unless_product(const Graph& graph, int node) {
  return unless_one_of(graph, node, {OpKind::attention_scores, OpKind::attention_values, OpKind::matmul, OpKind::mul},
                       "a product of two values (attention_scores, attention_values, matmul, mul)");
}

class DetachedStatisticsRule final : public Rule {
 public:
  std::string name() const override { return "detached statistics"; }
  std::string objection(const Graph& graph, int node) const override {
    return unless_one_of(graph, node, {OpKind::layer_norm, OpKind::group_norm}, "a layer_norm or group_norm");
  }
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const override {
    if (which != 0) return VjpRule().pull(view, {}, out, which, in);
    const std::vector<Operand> inputs = view.inputs();
    static_cast<const ExampleNormOp&>(view.op()).detached_vjp(view.context, {inputs, view.kept_output(), view.saved()},
                                                              out.data, out.targets, in);
  }
};

class HalfRule final : public Rule {
 public:
  std::string name() const override { return "half"; }
  std::string objection(const Graph& graph, int node) const override { return unless_product(graph, node); }
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const override {
    VjpRule().pull(view, {}, out, which, in);
    view.context.kernels.scale_add(in.count(), 0.5f, in.floats(), 0, in.floats());
  }
};

class HalfRelevanceRule final : public Rule {
 public:
  std::string name() const override { return "half on relevance"; }
  Form takes() const override { return Form::relevance; }
  std::string objection(const Graph& graph, int node) const override { return unless_product(graph, node); }
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const override {
    const auto [kernels, scratch] = view.context;
    const Tensor y = view.output(), share = scratch.take(out.data.shape());
    kernels.stabilised_ratio(share.count(), y.count(), tiny, out.data.floats(), y.floats(), share.floats());
    VjpRule().pull(view, {}, {share, Form::multiplier, out.targets}, which, in);
    const Tensor x = view.input(which).tensor;
    kernels.combine(Binary::multiply, in.count(), x.count(), in.floats(), x.floats(), in.floats());
    kernels.scale_add(in.count(), 0.5f, in.floats(), 0, in.floats());
  }
};

class ValuesOnlyRule final : public Rule {
 public:
  std::string name() const override { return "values only"; }
  bool carries(const Graph&, int, int which) const override { return which == 1; }
  std::string objection(const Graph& graph, int node) const override {
    return unless_one_of(graph, node, {OpKind::attention_values}, "an attention_values");
  }
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const override {
    VjpRule().pull(view, {}, out, which, in);
  }
};

class IdentityRule final : public Rule {
 public:
  std::string name() const override { return "identity"; }
  Form takes() const override { return Form::relevance; }
  bool carries(const Graph&, int, int which) const override { return which == 0; }
  std::string objection(const Graph& graph, int node) const override {
    return unless_one_of(graph, node,
                         {OpKind::layer_norm, OpKind::group_norm, OpKind::softmax, OpKind::affine, OpKind::relu,
                          OpKind::gelu, OpKind::gelu_tanh, OpKind::quick_gelu, OpKind::silu, OpKind::sigmoid,
                          OpKind::tanh, OpKind::position_add, OpKind::unit_norm},
                         "a norm, a softmax, a scale or an activation");
  }
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int, Tensor in) const override {
    view.context.kernels.copy(out.data.floats(), in.bytes(), in.floats());
  }
};

class RescaledSumRule final : public Rule {
 public:
  std::string name() const override { return "rescaled sum"; }
  Form takes() const override { return Form::relevance; }
  std::string objection(const Graph& graph, int node) const override {
    return unless_one_of(graph, node, {OpKind::add}, "an add");
  }

  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const override {
    const Context context = view.context;
    const int64_t rows = out.targets * view.node().shape[0];
    const std::vector<float> total = sums(context, out.data, rows);
    share(view, out, 1 - which, in);
    const std::vector<float> other = sums(context, in, rows);
    share(view, out, which, in);
    std::vector<float> factor = sums(context, in, rows);
    for (size_t row = 0; row < factor.size(); ++row) {
      const double own = factor[row], both = std::abs(own) + std::abs(static_cast<double>(other[row]));
      factor[row] = own == 0 || both == 0 ? 0.0f : static_cast<float>(std::abs(own) / both * total[row] / own);
    }
    for (size_t row = 0; row < factor.size(); ++row) {
      float* part = in.floats() + static_cast<int64_t>(row) * (in.count() / rows);
      context.kernels.scale_add(in.count() / rows, factor[row], part, 0, part);
    }
  }

 private:
  static void share(const NodeView& view, const Message& out, int which, const Tensor& in) {
    const Tensor x = view.input(which).tensor, y = view.output();
    view.context.kernels.scale_by_ratio(in.count(), y.count(), tiny, out.data.floats(), x.floats(), y.floats(),
                                        in.floats());
  }
  static std::vector<float> sums(Context context, const Tensor& values, int64_t rows) {
    const Tensor each = context.scratch.take(Shape{rows});
    context.kernels.row_dots({rows, values.count() / rows}, 1, nullptr, values.floats(), each.floats());
    std::vector<float> host(static_cast<size_t>(rows));
    context.kernels.download(each.floats(), each.bytes(), host.data());
    return host;
  }
};

}  // namespace

RulePtr detached_statistics() { return std::make_shared<DetachedStatisticsRule>(); }

RulePtr half() { return std::make_shared<HalfRule>(); }

RulePtr half_relevance() { return std::make_shared<HalfRelevanceRule>(); }

RulePtr values_only() { return std::make_shared<ValuesOnlyRule>(); }

RulePtr identity() { return std::make_shared<IdentityRule>(); }

RulePtr rescaled_sum() { return std::make_shared<RescaledSumRule>(); }

}  // namespace hp::rules
