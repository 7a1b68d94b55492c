// Rules for activations: how a message passes an elementwise nonlinearity.
#pragma once

#include "runtime/rule.h"

namespace hp::rules {

// R_x = R_y: the activation is passed over (the convention of layer-wise relevance propagation, Bach et al. 2015). As
// multipliers M_x = M_y y / x: [x > 0] for a ReLU, for the GELU family and SiLU what they multiply x by (1/2 at x = 0;
// AttnLRP's rule, attribution.md F.5); sigmoid and tanh divide by stab(x) with 1e-6. Also for x / |x| (unit_norm),
// whose length is then a constant.
RulePtr pass(Form form = Form::multiplier);

// The gradient's mask on relevance: R_x = R_y [x > 0]. As multipliers it is the gradient itself. ReLU only.
RulePtr relu_mask(Form form = Form::multiplier);

// Guided backpropagation (Springenberg et al. 2015, section 3.4): M_x = max(M_y, 0) [x > 0]. ReLU only.
RulePtr guided_relu();

// Deconvnet (Zeiler and Fergus 2014, section 2.1): M_x = max(M_y, 0), whatever x was. ReLU only.
RulePtr deconvnet_relu();

}  // namespace hp::rules
