// Integrated Gradients: the gradient, averaged along the way from an input without content.
#pragma once

#include "attribution/method.h"

namespace hp {

struct IntegratedGradientsOptions {
  int nodes = 50;           // points of the Gauss-Legendre quadrature
  int images_at_once = 16;  // points times images in one forward pass; changes no result beyond rounding
};

// x * sum_k w_k do(a_k x)/dx at the model input, from the baseline 0 there, the mean colour (Sundararajan et al. 2017,
// equation 1; attribution.md A.3). Points are streamed, so that memory does not depend on their number. Reports
// completeness, |sum - (o(x) - o(0))| / |o(x) - o(0)|. There is no single walk to watch.
class IntegratedGradients final : public Attribution {
 public:
  explicit IntegratedGradients(IntegratedGradientsOptions options) : options_(options) {}
  std::string name() const override { return "intgrad"; }
  MethodCost cost(const Graph& backbone) const override;

 private:
  Explanation run(const Question& question) const override;

  IntegratedGradientsOptions options_;
};

}  // namespace hp
