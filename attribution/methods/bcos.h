// Bcos: contribution maps of B-cos networks, the inputs times the weights that the network computes for them.
#pragma once

#include "attribution/methods/walk_method.h"

namespace hp {

// With every scale |cos|^(B-1) taken as a constant a B-cos network is linear in its input: logit c less its constant is
// sum W_c(x) x. W_c is the walk's message at the model input (explanation.trace), the map is its product with the
// input, summed over the channels with its sign (Boehle et al. 2022, section 3.3; attribution.md E.2). What a probe
// adds beside that, biases, belongs to no pixel and is left out. In a B-cos transformer attention and the deviations of
// norms are constants too, and the position embedding has the rest of the logit.
class BcosMethod final : public WalkMethod {
 public:
  BcosMethod();

 private:
  Explanation run(const Question& question) const override;  // throws hp::Error where conventional_parts() has some
};

// What keeps a backbone from being a B-cos network: "20 convolutions without a B-cos scale and 19 relu"; empty if
// nothing does.
std::string conventional_parts(const Graph& backbone);

// Throws hp::Error that says why there are no B-cos maps of a conventional backbone, and which methods there are.
void require_bcos(const Graph& backbone);

}  // namespace hp
