#include "attribution/rules/bcos_rules.h"

#include <fmt/format.h>

#include "runtime/ops/bcos.h"

namespace hp::rules {

namespace {

class DetachedScaleRule final : public Rule {
 public:
  explicit DetachedScaleRule(Form form) : form_(form) {}
  std::string name() const override { return "detached scale"; }
  Form takes() const override { return form_; }
  bool works_in_place(const Graph&, int) const override { return form_ == Form::multiplier; }
  bool carries(const Graph&, int, int which) const override { return which == 0; }
  Reads reads(const Graph&, int) const override {
    return form_ == Form::multiplier ? Reads::inputs : Reads::everything;
  }

  std::string objection(const Graph& graph, int node) const override {
    if (graph.node(node).kind == OpKind::bcos_scale) return {};
    return fmt::format("got {}; expected a bcos_scale", name_of(graph.node(node).kind));
  }

  void pull(const NodeView& view, std::span<const Tensor>, const Message& out, int, Tensor in) const override {
    if (form_ == Form::relevance) return view.context.kernels.copy(out.data.floats(), in.bytes(), in.floats());
    static_cast<const BcosScaleOp&>(view.op()).detached_vjp(view.context, view.input(0), view.input(1), out.data,
                                                            out.targets, in);
  }

 private:
  Form form_;
};

}  // namespace

RulePtr detached_scale(Form form) { return std::make_shared<DetachedScaleRule>(form); }

}  // namespace hp::rules
