#include "attribution/rules/linear_rules.h"

#include <cmath>

#include "attribution/rules/linear_rule.h"
#include "runtime/error.h"

namespace hp::rules {

namespace {

// sum_i (x_i w_ij)+ + b_j+
Tensor positive_sum(LinearNode& node, const Derivation& bias) {
  if (node.nonnegative()) return node.forward({Gate::all, derive::positive, bias});
  Tensor sum = node.forward({Gate::positive, derive::positive, bias});
  const Tensor other = node.forward({Gate::negative, derive::negative, derive::zero});
  node.kernels().scale_add(sum.count(), 1, other.floats(), 1, sum.floats());
  return sum;
}

class EpsilonRule final : public LinearRule {
 public:
  EpsilonRule(const LinearOptions& options, bool norm) : LinearRule(options), norm_(norm) {}
  std::string name() const override {
    return norm_ ? named("norm") : named("epsilon", fmt::format("{}", options().stabiliser));
  }

  // The adjoint of an addition is a copy: the product goes straight to its place.
  void pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
            Tensor in) const override {
    if (view.node().kind != OpKind::add || is_gradient()) return LinearRule::pull(view, prepared, out, which, in);
    weigh(LinearNode(view), prepared, 0, out.data, in);
    if (takes() == Form::multiplier) return;
    const Tensor x = view.input(which).tensor;
    view.context.kernels.combine(Binary::multiply, in.count(), x.count(), in.floats(), x.floats(), in.floats());
  }
  Cost pull_cost(const Graph& graph, int node, int which, int targets) const override {
    if (graph.node(node).kind != OpKind::add) return LinearRule::pull_cost(graph, node, which, targets);
    return {0, (2.0 * targets + 1) * value_bytes(graph, node)};
  }
  bool works_in_place(const Graph& graph, int node) const override {
    return graph.node(node).kind == OpKind::add && takes() == Form::multiplier;
  }

 protected:
  Needs needs() const override { return norm_ ? Needs::nothing : Needs::parameters; }

  std::vector<AdjointTerm> adjoints(const LinearFacts&) const override {
    return {{is_gradient() ? AdjointTerm::no_ratio : 0, Gate::all, derive::identity}};
  }

  // With its bias, the denominator is the node's own value, which is there anyway.
  int prepared_count(const LinearFacts&) const override { return options().zero_bias ? 1 : 0; }

  void make_ratios(LinearNode& node, std::span<Tensor> ratios) const override {
    stabilised(node, node.without_bias(node.output()), ratios[0]);
  }

  void weigh(const LinearNode& node, std::span<const Tensor> prepared, int ratio, const Tensor& message,
             Tensor into) const override {
    if (!prepared.empty()) return LinearRule::weigh(node, prepared, ratio, message, into);
    const Tensor z = node.output();
    node.kernels().scale_by_ratio(message.count(), z.count(), options().stabiliser, message.floats(), numerator(node),
                                  z.floats(), into.floats());
  }

 private:
  // Without stabiliser and with its bias, the rule in multiplier form is the gradient.
  bool is_gradient() const { return takes() == Form::multiplier && options().stabiliser == 0 && !options().zero_bias; }

  bool norm_;
};

class ZPlusRule final : public LinearRule {
 public:
  using LinearRule::LinearRule;
  std::string name() const override { return named("z_plus"); }

 protected:
  std::vector<AdjointTerm> adjoints(const LinearFacts& facts) const override {
    if (facts.nonnegative) return {{0, Gate::all, derive::positive}};
    return {{0, Gate::positive, derive::positive}, {0, Gate::negative, derive::negative}};
  }

  int forward_runs(const LinearFacts& facts) const override { return facts.nonnegative ? 1 : 2; }

  void make_ratios(LinearNode& node, std::span<Tensor> ratios) const override {
    stabilised(node, positive_sum(node, bias(derive::positive)), ratios[0]);
  }
};

class AlphaBetaRule final : public LinearRule {
 public:
  AlphaBetaRule(float alpha, float beta, const LinearOptions& options)
      : LinearRule(options), alpha_(alpha), beta_(beta) {
    require(alpha >= 0 && beta >= 0 && std::abs(alpha - beta - 1) < 1e-5f,
            "[rule] alpha_beta does not conserve relevance; got alpha {} and beta {}; expected alpha - beta = 1, beta "
            ">= 0",
            alpha, beta);
  }
  std::string name() const override { return named("alpha_beta", fmt::format("{}, {}", alpha_, beta_)); }

 protected:
  std::vector<AdjointTerm> adjoints(const LinearFacts& facts) const override {
    if (facts.nonnegative) return {{0, Gate::all, derive::positive}, {1, Gate::all, derive::negative}};
    return {{0, Gate::positive, derive::positive},
            {0, Gate::negative, derive::negative},
            {1, Gate::positive, derive::negative},
            {1, Gate::negative, derive::positive}};
  }

  int forward_runs(const LinearFacts& facts) const override { return facts.nonnegative ? 1 : 2; }

  // N = z - P, and never above 0, which rounding could make it.
  void make_ratios(LinearNode& node, std::span<Tensor> ratios) const override {
    Kernels& kernels = node.kernels();
    const Tensor positive = positive_sum(node, bias(derive::positive));
    const Tensor z = options().zero_bias ? node.without_bias(node.output()) : node.output();
    const int64_t n = z.count();
    const Tensor negative = node.scratch(z.shape());
    kernels.combine(Binary::subtract, n, n, z.floats(), positive.floats(), negative.floats());
    kernels.apply(Function::negative_part, n, negative.floats(), negative.floats());
    stabilised(node, positive, ratios[0]);
    stabilised(node, negative, ratios[1]);
    kernels.scale_add(n, alpha_, ratios[0].floats(), 0, ratios[0].floats());
    kernels.scale_add(n, -beta_, ratios[1].floats(), 0, ratios[1].floats());
  }

 private:
  float alpha_, beta_;
};

// With (x w)^s the part of sign s and w- = w - w+:
//   x >= 0, z > 0 only: x (w + gamma w+);
//   x >= 0: z > 0: x (w + gamma w+); z < 0: x ((1 + gamma) w - gamma w+);
//   any x, as (x w)^s = (x w + s |x| |w|) / 2: (1 + gamma/2) x w + s gamma/2 |x| |w|.
class GammaRule final : public LinearRule {
 public:
  GammaRule(float gamma, const LinearOptions& options) : LinearRule(options), gamma_(gamma) {
    require(gamma >= 0, "[rule] gamma out of range; got {}; expected 0 or more", gamma);
  }
  std::string name() const override { return named("gamma", fmt::format("{}", gamma_)); }

  void pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
            Tensor in) const override {
    LinearNode node(view);
    if (!has_two_parts(facts_of(node))) return LinearRule::pull(view, prepared, out, which, in);
    Kernels& kernels = node.kernels();
    const Tensor z = node.output(), x = view.input(which).tensor;
    Tensor all = node.scratch(out.data.shape());
    const Tensor positive = node.scratch(out.data.shape());
    kernels.gamma_messages(out.data.count(), z.count(), gamma_, out.data.floats(), z.floats(), prepared[0].floats(),
                           all.floats(), positive.floats());
    node.adjoint(all, out.targets, which, derive::identity, in);
    all = Tensor();
    const Tensor part = node.scratch(in.shape());
    node.adjoint(positive, out.targets, which, derive::positive, part);
    kernels.scale_add(in.count(), 1, part.floats(), 1, in.floats());
    if (takes() == Form::relevance)
      kernels.combine(Binary::multiply, in.count(), x.count(), in.floats(), x.floats(), in.floats());
  }

  Cost pull_cost(const Graph& graph, int node, int which, int targets) const override {
    Cost cost = LinearRule::pull_cost(graph, node, which, targets);
    // One pass over the message gives both products.
    if (has_two_parts(facts(graph, node))) cost.bytes -= targets * value_bytes(graph, node);
    return cost;
  }

 protected:
  std::vector<AdjointTerm> adjoints(const LinearFacts& facts) const override {
    if (!facts.nonnegative) return {{0, Gate::all, derive::identity}, {1, Gate::sign, derive::absolute}};
    if (facts.rectified) return {{0, Gate::all, derive::gamma(gamma_)}};
    return {{0, Gate::all, derive::identity}, {1, Gate::all, derive::positive}};
  }

  int forward_runs(const LinearFacts&) const override { return 1; }

  // The two ratios for x >= 0 are the same number but for factors that depend on the sign of z.
  int prepared_count(const LinearFacts& facts) const override { return facts.nonnegative ? 1 : 2; }

  void make_ratios(LinearNode& node, std::span<Tensor> ratios) const override {
    const auto [nonnegative, rectified] = facts_of(node);
    if (nonnegative && rectified) {
      const Derivation enlarged = derive::gamma(gamma_);
      return stabilised(node, node.forward({Gate::all, enlarged, bias(enlarged)}), ratios[0]);
    }
    const Tensor part = nonnegative ? node.forward({Gate::all, derive::positive, bias(derive::positive)})
                                    : node.forward({Gate::sign, derive::absolute, bias(derive::absolute)});
    if (options().zero_bias) return make_ratios_without_bias(node, part, ratios);
    const Tensor z = node.output();
    Kernels& kernels = node.kernels();
    if (nonnegative) {
      return kernels.gamma_ratio(z.count(), options().stabiliser, gamma_, numerator(node), z.floats(), part.floats(),
                                 ratios[0].floats());
    }
    kernels.gamma_ratios_any(z.count(), options().stabiliser, gamma_, numerator(node), z.floats(), part.floats(),
                             ratios[0].floats(), ratios[1].floats());
  }

 private:
  static bool has_two_parts(const LinearFacts& facts) { return facts.nonnegative && !facts.rectified; }

  // As the two kernels do, with denominators of z without its bias and branches by the sign of z with it.
  void make_ratios_without_bias(LinearNode& node, const Tensor& part, std::span<Tensor> ratios) const {
    Kernels& kernels = node.kernels();
    const Tensor z = node.output(), linear = node.without_bias(z);
    const int64_t n = z.count();
    const bool nonnegative = node.nonnegative();
    const float factor = nonnegative ? gamma_ : gamma_ / 2;  // of the part
    const Tensor term = node.scratch(z.shape()), ratio = node.scratch(z.shape());
    for (const bool above : {true, false}) {
      const Gate gate = above ? Gate::positive : Gate::negative;
      const float own = nonnegative ? (above ? 1 : 1 + gamma_) : 1 + gamma_ / 2;  // of z
      const float parts = above ? factor : -factor;
      const auto put = [&](float scale, const Tensor& into) {
        kernels.scale_add(n, scale, ratio.floats(), 0, term.floats());
        kernels.add_gated(gate, n, 1, z.floats(), term.floats(), above ? 0 : 1, into.floats());
      };
      kernels.scale_add(n, own, linear.floats(), 0, term.floats());
      kernels.scale_add(n, parts, part.floats(), 1, term.floats());
      stabilised(node, term, ratio);
      put(nonnegative ? 1 : own, ratios[0]);
      if (!nonnegative) put(parts, ratios[1]);
    }
  }

  float gamma_;
};

void check_stabiliser(const LinearOptions& options) {
  require(options.stabiliser >= 0 && std::isfinite(options.stabiliser),
          "[rule] stabiliser out of range; got {}; expected 0 or more", options.stabiliser);
}

}  // namespace

RulePtr epsilon(LinearOptions options) {
  check_stabiliser(options);
  return std::make_shared<EpsilonRule>(options, false);
}

RulePtr norm(LinearOptions options) {
  check_stabiliser(options);
  return std::make_shared<EpsilonRule>(options, true);
}

RulePtr z_plus(LinearOptions options) {
  check_stabiliser(options);
  return std::make_shared<ZPlusRule>(options);
}

RulePtr alpha_beta(float alpha, float beta, LinearOptions options) {
  check_stabiliser(options);
  return std::make_shared<AlphaBetaRule>(alpha, beta, options);
}

RulePtr gamma(float gamma, LinearOptions options) {
  check_stabiliser(options);
  return std::make_shared<GammaRule>(gamma, options);
}

}  // namespace hp::rules
