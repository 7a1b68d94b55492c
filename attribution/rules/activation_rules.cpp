#include "attribution/rules/activation_rules.h"

#include <fmt/format.h>

#include "runtime/ops/activation.h"

namespace hp::rules {

namespace {

std::string relu_only(const Graph& graph, int node) {
  if (graph.node(node).kind == OpKind::relu) return {};
  return fmt::format("got {}; expected a relu", name_of(graph.node(node).kind));
}

class PassRule final : public Rule {
 public:
  explicit PassRule(Form form) : form_(form) {}
  std::string name() const override { return "pass"; }
  Form takes() const override { return form_; }

  std::string objection(const Graph& graph, int node) const override {
    const OpKind kind = graph.node(node).kind;
    if (kind == OpKind::relu || kind == OpKind::sigmoid || kind == OpKind::tanh || kind == OpKind::unit_norm) return {};
    if (multiplies_by_gate(graph.node(node))) return {};
    return fmt::format(
        "got {}; expected an activation (relu, sigmoid, tanh, gelu, gelu_tanh, quick_gelu, silu) or unit_norm",
        name_of(kind));
  }

  std::vector<Shape> prepared_shapes(const NodeView& view) const override {
    return divides(view) ? std::vector<Shape>{view.output().shape()} : std::vector<Shape>{};
  }

  void prepare(const NodeView& view, std::span<Tensor> prepared) const override {
    if (!divides(view)) return;
    const Tensor x = view.input(0).tensor, y = view.output();
    view.context.kernels.stabilised_ratio(y.count(), x.count(), stabiliser, y.floats(), x.floats(),
                                          prepared[0].floats());
  }

  void pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
            Tensor in) const override {
    Kernels& kernels = view.context.kernels;
    if (form_ == Form::relevance) {
      kernels.copy(out.data.floats(), in.bytes(), in.floats());
    } else if (multiplies_by_gate(view.node())) {
      const Tensor x = view.input(0).tensor;
      kernels.apply_ratio(static_cast<const ActivationOp&>(view.op()).function(), x.count(), out.targets, x.floats(),
                          out.data.floats(), in.floats());
    } else if (view.node().kind == OpKind::unit_norm) {
      const Tensor x = view.input(0).tensor, y = view.output();
      kernels.scale_by_ratio(in.count(), y.count(), 0, out.data.floats(), y.floats(), x.floats(), in.floats());
    } else if (divides(view)) {
      kernels.combine(Binary::multiply, in.count(), prepared[0].count(), out.data.floats(), prepared[0].floats(),
                      in.floats());
    } else {
      VjpRule().pull(view, {}, out, which, in);
    }
  }
  bool works_in_place(const Graph&, int) const override { return form_ == Form::multiplier; }

 private:
  static constexpr float stabiliser = 1e-6f;
  // x times a function of x.
  static bool multiplies_by_gate(const Node& node) {
    return node.kind == OpKind::gelu || node.kind == OpKind::gelu_tanh || node.kind == OpKind::quick_gelu ||
           node.kind == OpKind::silu;
  }
  bool divides(const NodeView& view) const {
    return form_ == Form::multiplier && (view.node().kind == OpKind::sigmoid || view.node().kind == OpKind::tanh);
  }
  Form form_;
};

class ReluMaskRule final : public Rule {
 public:
  explicit ReluMaskRule(Form form) : form_(form) {}
  std::string name() const override { return "relu mask"; }
  Form takes() const override { return form_; }
  std::string objection(const Graph& graph, int node) const override { return relu_only(graph, node); }
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int which, Tensor in) const override {
    VjpRule().pull(view, {}, out, which, in);
  }
  bool works_in_place(const Graph&, int) const override { return true; }

 private:
  Form form_;
};

class GuidedReluRule final : public Rule {
 public:
  std::string name() const override { return "guided relu"; }
  std::string objection(const Graph& graph, int node) const override { return relu_only(graph, node); }
  // y > 0 says x > 0, and y is there also where x shares its memory.
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int, Tensor in) const override {
    const Tensor y = view.output();
    view.context.kernels.guided_relu_vjp(y.count(), out.targets, y.floats(), out.data.floats(), in.floats());
  }
  Reads reads(const Graph&, int) const override { return Reads::output; }
  bool works_in_place(const Graph&, int) const override { return true; }
};

class DeconvnetReluRule final : public Rule {
 public:
  std::string name() const override { return "deconvnet relu"; }
  std::string objection(const Graph& graph, int node) const override { return relu_only(graph, node); }
  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int, Tensor in) const override {
    view.context.kernels.apply(Function::positive_part, in.count(), out.data.floats(), in.floats());
  }
  bool works_in_place(const Graph&, int) const override { return true; }
};

}  // namespace

RulePtr pass(Form form) { return std::make_shared<PassRule>(form); }

RulePtr relu_mask(Form form) { return std::make_shared<ReluMaskRule>(form); }

RulePtr guided_relu() { return std::make_shared<GuidedReluRule>(); }

RulePtr deconvnet_relu() { return std::make_shared<DeconvnetReluRule>(); }

}  // namespace hp::rules
