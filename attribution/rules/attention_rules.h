// Rules of transformers: attention's products, its softmax, and norms with the statistics of the example.
//
// AttnLRP: Achtibat et al., "AttnLRP", 2024; CP-LRP: Ali et al., "XAI for Transformers", 2022; the table of both as
// multipliers and as relevance is attribution.md F.5 and F.6. The rules that AttnLRP has for softmax and scale are the
// vector-Jacobian products, and identity at an activation is `pass` (activation_rules.h).
#pragma once

#include "runtime/rule.h"

namespace hp::rules {

// y = (x - mean) / s weight + bias with the standard deviation s taken as a constant, the mean not: M_x = (g - mean(g))
// / s, g = M_y weight; uncentred M_x = g / s. The bias keeps its share. Explanation mode of B-cos transformers (E.2).
RulePtr detached_statistics();

// Half of the relevance of a product goes to each factor: as multipliers half of either vector-Jacobian product, as
// relevance R_a = a (s b^T) / 2, R_b = b (a^T s) / 2 with s = R / stab(y), stab's epsilon 1e-9 (F.3, F.5; there "plus"
// instead of signed, which differ where |y| is about epsilon). For attention's products, matmul and mul.
RulePtr half();
RulePtr half_relevance();

// a v with the attention a taken as a constant: everything goes to v, nothing to a, q and k (F.6, E.2).
RulePtr values_only();

// R_x = R_y through norms, softmax, scale and activations, on relevance (F.3).
RulePtr identity();

// The addition of Chefer et al., "Transformer Interpretability Beyond Attention Visualization", 2021 (F.3), on
// relevance: a' = a R / stab(y), then a' |sum a'| / (|sum a'| + |sum b'|) sum R / sum a', so that both inputs together
// have what the sum has; sums are per target and image, where the authors' code sums over the batch too.
RulePtr rescaled_sum();

}  // namespace hp::rules
