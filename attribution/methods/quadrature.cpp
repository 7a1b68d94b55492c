#include "attribution/methods/quadrature.h"

#include <cmath>
#include <numbers>

namespace hp {

namespace {

struct Legendre {
  double value = 0, derivative = 0;
};

// P_n and its derivative at x in (-1, 1), by the three-term recurrence.
Legendre legendre(int n, double x) {
  double previous = 1, value = x;
  for (int k = 2; k <= n; ++k) {
    const double next = ((2 * k - 1) * x * value - (k - 1) * previous) / k;
    previous = value;
    value = next;
  }
  return {value, n * (x * value - previous) / (x * x - 1)};
}

}  // namespace

Quadrature gauss_legendre(int count) {
  Quadrature result;
  for (int k = count; k >= 1; --k) {  // the roots descend with k
    double x = std::cos(std::numbers::pi * (k - 0.25) / (count + 0.5));
    Legendre p = legendre(count, x);
    for (int step = 0; step < 100 && p.value != 0; ++step) {
      const double next = x - p.value / p.derivative;
      const bool settled = std::fabs(next - x) <= 1e-16;
      x = next;
      p = legendre(count, x);
      if (settled) break;
    }
    result.nodes.push_back((1 + x) / 2);
    result.weights.push_back(1 / ((1 - x * x) * p.derivative * p.derivative));
  }
  return result;
}

}  // namespace hp
