// The polynomials behind the elementwise functions, element by element over their whole range.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/device_arrays.h"

namespace hp {

namespace {

using cases::Arguments;
using Vector = std::vector<float>;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float smallest_normal = std::numeric_limits<float>::min();

Vector evaluate(Function function, const Vector& x) {
  const auto n = static_cast<int64_t>(x.size());
  return run_kernel({x}, n, [=](Kernels& k, const Arguments& a) { k.apply(function, n, a.in(0), a.out(0)); });
}

// 200,000 steps from low to high.
Vector range(double low, double high) {
  Vector x;
  for (int i = 0; i <= 200000; ++i) x.push_back(static_cast<float>(low + (high - low) * i / 200000));
  return x;
}

// Magnitudes of every size, denormals included, of both signs where asked.
Vector all_magnitudes(double largest, bool both_signs) {
  Vector x;
  for (double magnitude = largest; magnitude > 1e-45; magnitude *= 0.9995) {
    x.push_back(static_cast<float>(magnitude));
    if (both_signs) x.push_back(static_cast<float>(-magnitude));
  }
  return x;
}

// The largest relative error; of results below the normal range, the error in units of the smallest normal number.
double worst_error(Function function, double (*exact)(double), const Vector& x) {
  const Vector y = evaluate(function, x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = exact(x[i]);
    if (std::abs(want) > std::numeric_limits<float>::max()) {
      CHECK(y[i] == std::copysign(infinity, want));
      continue;
    }
    const double error = std::abs(y[i] - want) / std::max(std::abs(want), double{smallest_normal});
    worst = std::isnan(error) ? infinity : std::max(worst, error);
  }
  return worst;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE("exp over the whole range") {
  const auto exact = [](double x) { return std::exp(x); };
  CHECK(worst_error(Function::exponential, exact, range(-110, 90)) < 1.5e-7);
  CHECK(worst_error(Function::exponential, exact, range(-1, 1)) < 1.5e-7);
  CHECK(worst_error(Function::exponential, exact, all_magnitudes(3e38, true)) < 1.5e-7);
  CHECK(evaluate(Function::exponential, {0, -0.0f, infinity, -infinity, 89, -104, 1e30f, -1e30f}) ==
        Vector{1, 1, infinity, 0, infinity, 0, infinity, 0});
}

TEST_CASE("log over the whole range") {
  const auto exact = [](double x) { return std::log(x); };
  CHECK(worst_error(Function::logarithm, exact, all_magnitudes(3.4e38, false)) < 1.5e-7);
  CHECK(worst_error(Function::logarithm, exact, range(0.5, 2)) < 1.5e-7);
  const Vector special = evaluate(Function::logarithm, {0, -0.0f, 1, infinity, -1, -infinity});
  CHECK(Vector(special.begin(), special.begin() + 4) == Vector{-infinity, -infinity, 0, infinity});
  CHECK(std::isnan(special[4]));
  CHECK(std::isnan(special[5]));
}

TEST_CASE("tanh and sigmoid over the whole range") {
  const auto exact = [](double x) { return std::tanh(x); };
  CHECK(worst_error(Function::tanh, exact, range(-10, 10)) < 2.5e-7);
  CHECK(worst_error(Function::tanh, exact, all_magnitudes(3e38, true)) < 2.5e-7);
  CHECK(worst_error(Function::sigmoid, sigmoid, range(-87, 90)) < 2.5e-7);
  CHECK(worst_error(Function::sigmoid, sigmoid, all_magnitudes(80, true)) < 2.5e-7);
  CHECK(evaluate(Function::tanh, {0, infinity, -infinity}) == Vector{0, 1, -1});
  CHECK(evaluate(Function::sigmoid, {0, infinity, -infinity}) == Vector{0.5f, 1, 0});
}

// Relative errors, also far out where a GELU is next to nothing; exp(-x^2/2) there has those of its argument.
TEST_CASE("GELU and its relatives over the whole range") {
  const auto gelu = [](double x) { return x / 2 * std::erfc(-x / std::sqrt(2.0)); };
  const auto quick_gelu = [](double x) { return x * sigmoid(1.702 * x); };
  const auto silu = [](double x) { return x * sigmoid(x); };
  CHECK(worst_error(Function::gelu, gelu, range(-3, 3)) < 6e-7);
  CHECK(worst_error(Function::gelu, gelu, range(-12, 12)) < 6e-6);
  CHECK(worst_error(Function::gelu, gelu, all_magnitudes(10, true)) < 6e-6);
  CHECK(worst_error(Function::quick_gelu, quick_gelu, range(-20, 20)) < 3e-6);
  CHECK(worst_error(Function::silu, silu, range(-80, 80)) < 4e-7);
  CHECK(evaluate(Function::gelu, {0, -20, 20, 1e30f, infinity}) == Vector{0, -0.0f, 20, 1e30f, infinity});
}

TEST_CASE("softplus loses no digits, small or large") {
  // loss = softplus(z) for a target of 0, one column per row
  const auto exact = [](double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); };
  const Vector z = range(-80, 80);
  const auto n = static_cast<int64_t>(z.size());
  const Vector loss = run_kernel({z, Vector(z.size())}, n, [=](Kernels& k, const Arguments& a) {
    k.binary_cross_entropy({n, 1}, a.in(0), a.in(1), 1, a.out(0), nullptr);
  });
  double worst = 0;
  for (size_t i = 0; i < z.size(); ++i) worst = std::max(worst, std::abs(loss[i] - exact(z[i])) / exact(z[i]));
  CHECK(worst < 4e-7);
}

TEST_CASE("denormals and signed zeros pass through") {
  const Vector x = {1e-40f, -1e-40f, 0.0f, -0.0f};
  CHECK(evaluate(Function::relu, x) == Vector{1e-40f, 0, 0, 0});
  CHECK(evaluate(Function::negative_part, x) == Vector{0, -1e-40f, 0, 0});
  CHECK(evaluate(Function::absolute, x) == Vector{1e-40f, 1e-40f, 0, 0});
  CHECK(evaluate(Function::sign, x) == Vector{1, -1, 0, 0});
  CHECK(evaluate(Function::tanh, x) == x);
}

// 40 elements: some of them in the vectors, some behind them.
TEST_CASE("every function keeps a NaN") {
  for (const Function function :
       {Function::relu, Function::sigmoid, Function::tanh, Function::exponential, Function::logarithm, Function::square,
        Function::absolute, Function::positive_part, Function::negative_part, Function::sign, Function::gelu,
        Function::gelu_tanh, Function::quick_gelu, Function::silu}) {
    for (const size_t position : {0, 5, 31, 32, 39}) {
      Vector x(40, 0.5f);
      x[position] = nan;
      const Vector y = evaluate(function, x);
      for (size_t i = 0; i < x.size(); ++i) CHECK(std::isnan(y[i]) == (i == position));
    }
  }
}

}  // namespace hp
