// Named composites: which rule a method has at which kind of op, and how an experiment file changes them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "runtime/rule.h"

namespace hp {

// The range of the model input per channel, for the zB rule: RGB 0 and 1 after normalisation.
struct InputBox {
  std::vector<float> low, high;
};
InputBox normalised_box(std::span<const float> mean, std::span<const float> variance);

// What a residual addition does. norm: R_a = a R / stab(a + b) (attribution.md B.2). copy: both branches get R in full,
// as in published numbers of "How to Probe" (protocol.md Q2): total relevance doubles at every addition and reaches
// activations that are 0, so the walk carries relevance and reads values before their ReLUs.
enum class Residual { norm, copy };

// One rule of an experiment file. Exactly one of the places is given.
struct RuleSpec {
  enum class Place { at, on, first } place = Place::at;
  std::string where;  // name or pattern of nodes (at: "layer4.*"), or kind of op ("conv2d")
  std::string rule;   // one of rule_names()
  float epsilon = 1e-6f, gamma = 0.25f, alpha = 2, beta = 1;
  bool zero_bias = false;
  std::vector<float> low, high;  // z_box; empty: those of the model input
};
std::vector<std::string> rule_names();

// A composite by name with its settings. Sources: zennit's composites as in attribution.md B.3; the rules themselves
// are in rules/linear_rules.h. All of the LRP family: activations pass, additions, average pooling and resizing have
// the norm rule, linear and batch norm ops (those that could not be folded) the epsilon rule, whatever moves values
// only the vector-Jacobian product. The scale of a B-cos layer is taken as a constant, an uncentred batch norm as a
// part of the weights before it (protocol.md Q3). zennit's composites have no rules for transformers: here attention
// and layer norm have those of cp_lrp under each of them, and are refused with residual "copy".
//   gradient                  the vector-Jacobian product everywhere
//   guided_backprop           the same but for ReLUs (Springenberg et al. 2015)
//   deconvnet                 the same but for ReLUs (Zeiler and Fergus 2014)
//   epsilon_gamma_box         conv: gamma, first conv: zB. The default
//   epsilon_plus              conv: z+
//   epsilon_alpha2_beta1      conv: alpha-beta(2, 1)
//   epsilon_plus_flat         conv: z+, first conv or linear: flat
//   epsilon_alpha2_beta1_flat conv: alpha-beta(2, 1), first conv or linear: flat
//   attn_lrp                  AttnLRP as multipliers (attribution.md F.5): conv, linear and batch norm epsilon; to each
//                             factor half of a product's relevance, also of attention's; softmax, scale, additions and
//                             pooling the vector-Jacobian product; activations pass; norms with their statistics
//                             detached
//   cp_lrp                    CP-LRP (F.6): the same, with attention as a constant: all relevance goes to the values
//   excitation_backprop       conv and linear: z+; ReLUs keep the mask of their gradient (Zhang et al. 2016). With
//                             multipliers R = M * value a passing ReLU and its gradient are the same, as relevance is 0
//                             where a value is 0. Winning probabilities are relevance from a start of 1 at the target,
//                             that is R / logit; biases count unless zero_bias is set, as in zennit.
struct CompositeSpec {
  std::string base = "epsilon_gamma_box";
  float gamma = 0.25f;    // of epsilon_gamma_box
  float epsilon = 1e-6f;  // of the epsilon rule, for the composites that let it be chosen
  Residual residual = Residual::norm;
  bool zero_bias = false;       // no biases in the denominators of convolutions and linear ops
  std::vector<RuleSpec> rules;  // on top of the base: see Composite for what goes first

  // A name, or {"base": ..., "gamma": ..., "epsilon": ..., "residual": "norm" | "copy", "zero_bias": ..., "rules":
  // [...]} with rules {"at" | "on" | "first": ..., "rule": ..., and the rule's own settings}; null is the default.
  // Settings that the base or rule does not have are refused. `where` is the JSON path for errors: hp::Error
  // "[where/rules/1] ...".
  static CompositeSpec parse(const nlohmann::json& value, const std::string& where);

  // Everything that tells this composite from others, as one line: equal keys mean equal rules.
  std::string key() const;
  // Throws hp::Error if z_box is used without bounds.
  Composite build(const InputBox& box) const;
};

std::vector<std::string> composite_names();

// Rules of `spec` whose pattern names no node of any of the graphs: most likely a typing error.
std::vector<std::string> unused_patterns(const CompositeSpec& spec, std::span<const Graph* const> graphs);

// One line per node: name, op, rule, and why it has it. At most 100 columns. Throws as Composite::assign.
std::string composite_table(const Graph& graph, const Composite& composite);

}  // namespace hp
