#include "attribution/composites.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "attribution/rules/activation_rules.h"
#include "attribution/rules/attention_rules.h"
#include "attribution/rules/bcos_rules.h"
#include "attribution/rules/linear_rules.h"
#include "runtime/error.h"

namespace hp {

namespace {

using rules::LinearOptions;

Form form_of(const CompositeSpec& spec) { return spec.residual == Residual::copy ? Form::relevance : Form::multiplier; }

OpKind kind_named(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(OpKind::binary_cross_entropy); ++i) {
    const OpKind kind = static_cast<OpKind>(i);
    if (name_of(kind) == name) return kind;
  }
  fail("[composite] no such kind of op; got {}; expected conv2d, linear, relu, ...", name);
}

RulePtr box_rule(std::vector<float> low, std::vector<float> high, const InputBox& box, LinearOptions options) {
  if (low.empty()) low = box.low, high = box.high;
  require(!low.empty(),
          "[composite] z_box has no bounds; got none; expected the range of the model input, or \"low\" and \"high\"");
  return rules::z_box(std::move(low), std::move(high), options);
}

RulePtr make_rule(const RuleSpec& spec, Form form, const InputBox& box) {
  const LinearOptions plain{.form = form, .zero_bias = spec.zero_bias};
  if (spec.rule == "epsilon") return rules::epsilon({form, spec.epsilon, spec.zero_bias});
  if (spec.rule == "norm") return rules::norm({form, spec.epsilon, spec.zero_bias});
  if (spec.rule == "z_plus") return rules::z_plus(plain);
  if (spec.rule == "alpha_beta") return rules::alpha_beta(spec.alpha, spec.beta, plain);
  if (spec.rule == "gamma") return rules::gamma(spec.gamma, plain);
  if (spec.rule == "z_box") return box_rule(spec.low, spec.high, box, plain);
  if (spec.rule == "w_square") return rules::w_square(plain);
  if (spec.rule == "flat") return rules::flat(plain);
  if (spec.rule == "pass") return rules::pass(form);
  if (spec.rule == "relu_mask") return rules::relu_mask(form);
  if (spec.rule == "guided_relu") return rules::guided_relu();
  if (spec.rule == "deconvnet_relu") return rules::deconvnet_relu();
  if (spec.rule == "detached_scale") return rules::detached_scale(form);
  if (spec.rule == "detached_statistics") return rules::detached_statistics();
  if (spec.rule == "values_only") return rules::values_only();
  if (spec.rule == "half") return rules::half();
  if (spec.rule == "vjp") return std::make_shared<VjpRule>(form);
  fail("[composite] no such rule; got {}; expected one of {}", spec.rule, fmt::join(rule_names(), ", "));
}

constexpr OpKind activations[] = {OpKind::relu,      OpKind::sigmoid,    OpKind::tanh, OpKind::gelu,
                                  OpKind::gelu_tanh, OpKind::quick_gelu, OpKind::silu, OpKind::unit_norm};

// attribution.md F.5 (`through_softmax`) and F.6, where attention is a constant.
void add_attention_rules(Composite& composite, bool through_softmax) {
  composite.on(OpKind::layer_norm, rules::detached_statistics()).on(OpKind::group_norm, rules::detached_statistics());
  composite.on(OpKind::matmul, rules::half()).on(OpKind::mul, rules::half());
  composite.on(OpKind::attention_values, through_softmax ? rules::half() : rules::values_only());
  const RulePtr vjp = std::make_shared<VjpRule>();  // in CP-LRP they have no message
  composite.on(OpKind::attention_scores, through_softmax ? rules::half() : vjp).on(OpKind::softmax, vjp);
  for (OpKind kind : {OpKind::position_add, OpKind::prepend, OpKind::patchify}) composite.on(kind, vjp);
}

Composite attention_composite(const CompositeSpec& spec) {
  Composite composite;
  for (OpKind kind : activations) composite.on(kind, rules::pass());
  add_attention_rules(composite, spec.base == "attn_lrp");
  const RulePtr vjp = std::make_shared<VjpRule>();
  for (OpKind kind : {OpKind::add, OpKind::avg_pool, OpKind::affine, OpKind::patch_norm, OpKind::uncentred_norm})
    composite.on(kind, vjp);
  for (OpKind kind : {OpKind::concat, OpKind::slice, OpKind::pad, OpKind::reshape, OpKind::max_pool, OpKind::max_out})
    composite.on(kind, vjp);
  composite.on(OpKind::bcos_scale, rules::detached_scale());
  for (OpKind kind : {OpKind::conv2d, OpKind::linear, OpKind::batch_norm})
    composite.on(kind, rules::epsilon({Form::multiplier, spec.epsilon, spec.zero_bias}));
  return composite;
}

// What the composites of the LRP family share.
Composite relevance_base(const CompositeSpec& spec) {
  const Form form = form_of(spec);
  Composite composite;
  composite.otherwise(std::make_shared<VjpRule>(form));
  for (OpKind kind : activations) composite.on(kind, rules::pass(form));
  if (form == Form::multiplier) add_attention_rules(composite, false);
  for (OpKind kind : {OpKind::add, OpKind::avg_pool, OpKind::resize}) composite.on(kind, rules::norm({.form = form}));
  // As multipliers the same as the norm rule, without its stabiliser and without reading the values.
  composite.on(OpKind::affine, form == Form::multiplier ? std::make_shared<VjpRule>() : rules::norm({.form = form}));
  if (spec.residual == Residual::copy)
    composite.on(OpKind::add, std::make_shared<VjpRule>(form)).reads_preactivations();
  composite.on(OpKind::bcos_scale, rules::detached_scale(form));
  composite.on(OpKind::patch_norm, std::make_shared<VjpRule>());  // which has no message, since the scale carries none
  // Without a shift it is a scale per channel, as if it were merged into the weights before it.
  composite.on(OpKind::uncentred_norm, rules::epsilon({.form = form, .stabiliser = 0}));
  composite.on(OpKind::batch_norm, rules::epsilon({.form = form, .stabiliser = spec.epsilon}));
  composite.on(OpKind::linear, rules::epsilon({form, spec.epsilon, spec.zero_bias}));
  return composite;
}

Composite relevance_composite(const CompositeSpec& spec, const InputBox& box) {
  const LinearOptions options{.form = form_of(spec), .zero_bias = spec.zero_bias};
  Composite composite = relevance_base(spec);
  if (spec.base == "epsilon_gamma_box") {
    composite.on(OpKind::conv2d, rules::gamma(spec.gamma, options));
    composite.first(OpKind::conv2d, box_rule({}, {}, box, options));
  } else if (spec.base == "excitation_backprop") {
    composite.on(OpKind::conv2d, rules::z_plus(options)).on(OpKind::linear, rules::z_plus(options));
    composite.on(OpKind::relu, rules::relu_mask(options.form));
  } else {
    const bool plus = spec.base.starts_with("epsilon_plus");
    composite.on(OpKind::conv2d, plus ? rules::z_plus(options) : rules::alpha_beta(2, 1, options));
    if (spec.base.ends_with("_flat")) composite.first({OpKind::conv2d, OpKind::linear}, rules::flat(options));
  }
  return composite;
}

std::string_view fitted(std::string& text, size_t width) {
  if (text.size() > width) text = text.substr(0, width - 2) + "..";
  return text;
}

}  // namespace

InputBox normalised_box(std::span<const float> mean, std::span<const float> variance) {
  require(mean.size() == variance.size() && !mean.empty(),
          "[composite] mean and variance of the model input do not fit; got {} and {} values; expected one per channel",
          mean.size(), variance.size());
  InputBox box;
  for (size_t c = 0; c < mean.size(); ++c) {
    const double deviation = std::sqrt(static_cast<double>(variance[c]));
    box.low.push_back(static_cast<float>((0.0 - mean[c]) / deviation));
    box.high.push_back(static_cast<float>((1.0 - mean[c]) / deviation));
  }
  return box;
}

std::vector<std::string> rule_names() {
  return {"epsilon",     "norm", "z_plus",    "alpha_beta",  "gamma",          "z_box",          "w_square",
          "flat",        "pass", "relu_mask", "guided_relu", "deconvnet_relu", "detached_scale", "detached_statistics",
          "values_only", "half", "vjp"};
}

std::vector<std::string> composite_names() {
  return {"epsilon_gamma_box", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat", "epsilon_alpha2_beta1_flat",
          "attn_lrp",          "cp_lrp",       "excitation_backprop",  "gradient",          "guided_backprop",
          "deconvnet"};
}

Composite CompositeSpec::build(const InputBox& box) const {
  Composite composite;
  if (base == "guided_backprop") {
    composite.on(OpKind::relu, rules::guided_relu());
  } else if (base == "deconvnet") {
    composite.on(OpKind::relu, rules::deconvnet_relu());
  } else if (base == "attn_lrp" || base == "cp_lrp") {
    composite = attention_composite(*this);
  } else if (base != "gradient") {
    composite = relevance_composite(*this, box);
  }
  for (const RuleSpec& spec : rules) {
    const RulePtr rule = make_rule(spec, form_of(*this), box);
    if (spec.place == RuleSpec::Place::at) composite.at(spec.where, rule);
    if (spec.place == RuleSpec::Place::on) composite.on(kind_named(spec.where), rule);
    if (spec.place == RuleSpec::Place::first) composite.first(kind_named(spec.where), rule);
  }
  return composite;
}

std::string CompositeSpec::key() const {
  std::string key = fmt::format("{} gamma {} epsilon {} residual {} zero_bias {}", base, gamma, epsilon,
                                residual == Residual::copy ? "copy" : "norm", zero_bias);
  for (const RuleSpec& r : rules) {
    key += fmt::format("; {} {} {} {} {} {} {} {} [{}] [{}]", static_cast<int>(r.place), r.where, r.rule, r.epsilon,
                       r.gamma, r.alpha, r.beta, r.zero_bias, fmt::join(r.low, " "), fmt::join(r.high, " "));
  }
  return key;
}

std::vector<std::string> unused_patterns(const CompositeSpec& spec, std::span<const Graph* const> graphs) {
  std::vector<std::string> unused;
  for (const RuleSpec& rule : spec.rules) {
    bool used = rule.place != RuleSpec::Place::at;
    for (const Graph* graph : graphs) used = used || !graph->match(rule.where).empty();
    if (!used) unused.push_back(rule.where);
  }
  return unused;
}

std::string composite_table(const Graph& graph, const Composite& composite) {
  const std::vector<Choice> choices = composite.assign(graph);
  struct Line {
    std::string node, op, rule, reason;
  };
  std::vector<Line> lines{{"node", "op", "rule", "reason"}};
  for (int i = 0; i < graph.size(); ++i) {
    const Choice& choice = choices[static_cast<size_t>(i)];
    if (choice.rule && !graph.node(i).is_constant)
      lines.push_back({graph.node(i).name, graph.node(i).op->describe(), choice.rule->name(), choice.reason});
  }
  constexpr size_t widest[] = {32, 20, 22, 20};  // with two blanks between columns: 100
  size_t width[3] = {};
  for (Line& line : lines) {
    width[0] = std::max(width[0], fitted(line.node, widest[0]).size());
    width[1] = std::max(width[1], fitted(line.op, widest[1]).size());
    width[2] = std::max(width[2], fitted(line.rule, widest[2]).size());
    fitted(line.reason, widest[3]);
  }
  std::string text;
  for (const Line& line : lines) {
    text += fmt::format("{:{}}  {:{}}  {:{}}  {}\n", line.node, width[0], line.op, width[1], line.rule, width[2],
                        line.reason);
  }
  return text;
}

}  // namespace hp
