// Rules of B-cos networks: the explanation mode of a B-cos layer is a rule at its scale node, not a flag in an op.
#pragma once

#include "runtime/rule.h"

namespace hp::rules {

// y = s u with the scale s = |u / n|^(B-1) taken as a constant (Boehle et al., "B-cos Networks", 2022, section 3.3;
// attribution.md E.2): as multipliers M_u = s M_y, which together with the product's own adjoint is the dynamic linear
// map of the layer; as relevance R_u = R_y. Nothing goes to the norm n.
RulePtr detached_scale(Form form = Form::multiplier);

}  // namespace hp::rules
