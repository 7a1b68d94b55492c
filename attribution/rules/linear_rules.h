// Relevance rules for every op that is linear in its data: epsilon, z+, alpha-beta, gamma, zB, w2, flat.
//
// Notation as in Montavon et al., "Layer-Wise Relevance Propagation: An Overview", 2019: output j, input i,
// z_j = sum_i x_i w_ij + b_j, v+ = max(v, 0), v- = min(v, 0), stab(d) = d + stabiliser * sgn(d) with sgn(0) = +1. Every
// rule spreads the relevance R_j of an output over its inputs: R_i = sum_j share_ij R_j. In multiplier form M_j with
// R_j = M_j z_j comes in and M_i with R_i = M_i x_i goes out (R_i = 0 where x_i = 0), so the rule multiplies by z_j /
// stab(D_j), which is bounded, instead of dividing by stab(D_j).
//
// Each rule takes the cheapest evaluation that is exact for what is known at its node (attribution.md B.6): whether x
// >= 0 for certain, and whether the node's value is that of the ReLU behind it (then nothing arrives where z <= 0). In
// convolutions beyond the network's own pass, "forward + adjoint":
//   epsilon 0+1; z+ 1+1 (x >= 0) or 2+2; alpha-beta 1+2 or 2+4; gamma 1+1 (x >= 0, before a ReLU) or 1+2;
//   zB 0+2; w2 0+1; flat 0+1. Forward counts are per image, adjoints per image and target.
#pragma once

#include <vector>

#include "runtime/rule.h"

namespace hp::rules {

struct LinearOptions {
  Form form = Form::multiplier;  // of the messages that the rule takes
  float stabiliser = 1e-6f;
  bool zero_bias = false;  // the bias is left out of the denominators: R is conserved, but the gain is unbounded
};

// R_i = x_i sum_j w_ij R_j / stab(z_j), stab with `options.stabiliser` as its epsilon. Bach et al. 2015, eq. 58; 0 is
// LRP-0. For ops with parameters, batch norm among them.
RulePtr epsilon(LinearOptions options = {});
// The same for every op that is linear in its data: R_a = a R / stab(a + b) for an addition, likewise for average
// pooling and resizing.
RulePtr norm(LinearOptions options = {});
// R_i = sum_j (x_i w_ij)+ R_j / stab(sum_i (x_i w_ij)+ + b_j+). The z+ rule of Montavon et al.
// 2017 (x >= 0); any sign as in attribution.md B.2.
RulePtr z_plus(LinearOptions options = {});
// R_i = sum_j [alpha (x_i w_ij)+ / stab(P_j) - beta (x_i w_ij)- / stab(N_j)] R_j with P and N the sums of the positive
// and of the negative parts, bias included; alpha - beta = 1. Bach et al. 2015, eq. 60.
RulePtr alpha_beta(float alpha = 2, float beta = 1, LinearOptions options = {});
// R_i = sum_j [x_i w_ij + gamma (x_i w_ij)^s] R_j / stab(z_j + gamma (sum_i (x_i w_ij)^s + b_j^s)), where s is the sign
// of z_j; relevance at z_j = 0 is dropped. LRP-gamma of Montavon et al. 2019 (x >= 0, z > 0: w +
// gamma w+), any sign as in attribution.md B.2. With zero_bias the sign is that of z with its bias, as in zennit.
RulePtr gamma(float gamma = 0.25f, LinearOptions options = {});
// R_i = sum_j [x_i w_ij - low_i w_ij+ - high_i w_ij-] R_j / stab(z_j - b_j - sum_i (low_i w_ij+ + high_i w_ij-)).
// The zB rule of Montavon et al. 2017: for inputs in a box, low and high per channel (or one for all). Gives relevance.
RulePtr z_box(std::vector<float> low, std::vector<float> high, LinearOptions options = {});
// R_i = sum_j w_ij^2 R_j / stab(sum_i w_ij^2 + b_j^2). Montavon et al. 2017, eq. 12 of arXiv:1512.02479. Gives
// relevance that is not a multiple of x, so it fits the first layer only.
RulePtr w_square(LinearOptions options = {});
// R_i = sum_j R_j / stab(number of inputs of j). Bach et al. 2016 (ICIP). As w2, for the first layer only.
RulePtr flat(LinearOptions options = {});

}  // namespace hp::rules
