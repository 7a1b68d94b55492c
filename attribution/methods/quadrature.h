// Gauss-Legendre quadrature on [0, 1].
#pragma once

#include <vector>

namespace hp {

struct Quadrature {
  std::vector<double> nodes, weights;  // ascending; weights sum to 1
};

// Exact for polynomials of degree 2 count - 1. Newton on the Legendre polynomial from cos(pi (k - 1/4) / (count +
// 1/2)), weight 2 / ((1 - x^2) P'(x)^2), moved to [0, 1] (attribution.md A.3; Abramowitz and Stegun 25.4.29).
Quadrature gauss_legendre(int count);

}  // namespace hp
