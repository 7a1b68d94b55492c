// What single parameters get of the optimiser's settings: factors by pattern, decay by shape, one norm for all.
#include "probes/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "tests/probes/toy.h"

using namespace hp;
using namespace hp::test;

namespace {

// Parameters of a small network, all elements 1, and gradients of 0 unless said.
struct Network {
  CpuKernels kernels;
  std::vector<std::string> names{"conv1.weight",          "bn1.weight",  "bn1.bias",
                                 "layer4.0.conv1.weight", "head.weight", "head.bias"};
  std::vector<Weight> weights;
  std::vector<Tensor> gradients;

  explicit Network(float gradient) {
    for (const std::string& name : names) {
      const bool vector = name.starts_with("bn") || name.ends_with("bias");
      const Shape shape = vector ? Shape{4} : Shape{2, 2, 1, 1};
      weights.emplace_back(Tensor::host(shape, std::vector<float>(4, 1.0F)));
      gradients.push_back(Tensor::host(shape, std::vector<float>(4, gradient)));
    }
  }
  // The first element of every parameter after some steps of rate 0.1.
  std::vector<double> after(const OptimizerSettings& settings, int steps = 1) {
    std::vector<Optimizer::Parameter> parameters;
    for (size_t i = 0; i < names.size(); ++i) parameters.push_back({names[i], &weights[i]});
    Optimizer optimizer(settings, parameters, kernels);
    for (int step = 0; step < steps; ++step) optimizer.step(0.1, gradients);
    std::vector<double> values;
    for (Weight& weight : weights) values.push_back(weight.tensor().floats()[0]);
    return values;
  }
};

void check_values(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("weight decay leaves vectors alone where it is told to") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adamw}) {
    CAPTURE(name_of(kind));
    OptimizerSettings settings{.kind = kind, .momentum = 0, .weight_decay = 0.5, .groups = {}};
    check_values(Network(0).after(settings), {0.95, 0.95, 0.95, 0.95, 0.95, 0.95});
    settings.decays_vectors = false;
    check_values(Network(0).after(settings), {0.95, 1, 1, 0.95, 0.95, 1});
  }
}

TEST_CASE("factors of the first pattern that fits multiply rate and decay") {
  OptimizerSettings settings{.momentum = 0, .weight_decay = 0.5, .groups = {}};
  settings.groups = {{"head.*", 10, 1}, {"layer4.*", 0, 1}, {"*.bias", 1, 0}, {"head.bias", 100, 100}};
  // gradient 1: 1 - 0.1 rate (1 + 0.5 decay); the head's bias belongs to the head.
  check_values(Network(1).after(settings), {0.85, 0.85, 0.9, 1, -0.5, -0.5});
  settings.decays_vectors = false;
  check_values(Network(1).after(settings), {0.85, 0.9, 0.9, 1, -0.5, 0});
}

TEST_CASE("a factor of 0 freezes a parameter, with every optimiser") {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
    CAPTURE(name_of(kind));
    OptimizerSettings settings{.kind = kind, .weight_decay = 0.1, .groups = {}};
    settings.groups = {{"layer4.*", 0, 1}};
    const std::vector<double> values = Network(1).after(settings, 3);
    CHECK(values[3] == 1);
    CHECK(values[0] < 0.9);
  }
}

TEST_CASE("gradients are scaled down together to the bound of their norm, and never up") {
  OptimizerSettings settings{.momentum = 0, .clip_norm = 1, .groups = {}};
  const double norm = std::sqrt(24 * 9.0);  // 6 parameters of 4 elements with gradient 3
  check_values(Network(3).after(settings), std::vector<double>(6, 1 - 0.1 * 3 / norm));
  settings.clip_norm = 100;
  check_values(Network(3).after(settings), std::vector<double>(6, 0.7));
  settings.clip_norm = 0;
  check_values(Network(3).after(settings), std::vector<double>(6, 0.7));
}

TEST_CASE("optimisers out of range are refused by name") {
  const auto complaint = [](const OptimizerSettings& settings) {
    try {
      settings.check();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(complaint({}).empty());
  CHECK(complaint({.momentum = 1, .groups = {}}).find("momentum out of range; got 1") != std::string::npos);
  CHECK(complaint({.weight_decay = -1, .groups = {}}).find("weight_decay") != std::string::npos);
  CHECK(complaint({.clip_norm = -1, .groups = {}}).find("clip_norm") != std::string::npos);
  OptimizerSettings settings;
  settings.groups = {{"head.*", -1, 1}};
  CHECK(complaint(settings).find("factors of group 'head.*'") != std::string::npos);
}
