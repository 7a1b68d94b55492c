// The paper's argument in numbers: a vector added to every class's weights changes nothing that cross entropy sees.
#include "probes/shift.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/trainer.h"
#include "runtime/error.h"
#include "tests/probes/toy.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr int64_t samples = 60, classes = 5, channels = classes + 2;

struct Trained {
  FeatureTensor features{separable_maps(samples, classes, 3, 21)};
  Labels labels = cyclic_labels(samples, classes);
  CpuKernels kernels;
  Probe probe = Probe::fresh({"ce", HeadKind::linear, LossKind::ce, true, 0, 0}, channels, class_names(classes), 9);

  Trained() {
    Recipe recipe;
    recipe.learning_rate = 1;
    recipe.epochs = 10;
    recipe.batch_size = 16;
    Probe* probes[] = {&probe};
    train(probes, features, labels, recipe, kernels);
  }
  Predictions predictions(const Probe& of) { return *predict(of, features, 32, kernels); }
};

}  // namespace

TEST_CASE("a shift of all weights leaves softmax and cross entropy alone, and no sigmoid") {
  Trained trained;
  const Predictions before = trained.predictions(trained.probe);
  const ShiftScores unshifted = shift_scores(before, before, trained.labels);
  CHECK(unshifted.softmax_change == 0);
  CHECK(std::isfinite(unshifted.ce));
  for (const ShiftDirection direction :
       {ShiftDirection::random, ShiftDirection::minus_mean_weight, ShiftDirection::mean_feature}) {
    CAPTURE(name_of(direction));
    const std::vector<float> unit = shift_vector(trained.probe, direction, trained.features, 4);
    double length = 0;
    for (const float value : unit) length += static_cast<double>(value) * value;
    CHECK(length == doctest::Approx(1).epsilon(1e-6));
    for (const double scale : {-2.0, -0.5, 0.5, 2.0}) {
      CAPTURE(scale);
      const Predictions after = trained.predictions(shifted(trained.probe, unit, scale));
      const ShiftScores scores = shift_scores(after, before, trained.labels);
      CHECK(scores.softmax_change < 1e-5);
      CHECK(std::abs(scores.ce - unshifted.ce) < 1e-4 * unshifted.ce);
      CHECK(scores.top1 == unshifted.top1);
      // The other half: probabilities of one class at a time are others, and so is their loss.
      CHECK(scores.sigmoid_change > 1e-3);
      CHECK(std::abs(scores.bce - unshifted.bce) > 1e-3 * unshifted.bce);
    }
  }
}

TEST_CASE("a shift is its scale times the mean length of the weights, the same for every class") {
  Trained trained;
  const std::vector<float> unit = shift_vector(trained.probe, ShiftDirection::random, trained.features, 4);
  const Probe moved = shifted(trained.probe, unit, 1.5);
  const double length = 1.5 * mean_weight_norm(trained.probe);
  const float *from = trained.probe.parameters.at("head.weight").floats(),
              *to = moved.parameters.at("head.weight").floats();
  for (int64_t i = 0; i < classes * channels; ++i)
    CHECK(to[i] - from[i] == doctest::Approx(length * unit[static_cast<size_t>(i % channels)]).epsilon(1e-4));
  CHECK(values_of(moved.parameters.at("head.bias")) == values_of(trained.probe.parameters.at("head.bias")));
  CHECK(unit != shift_vector(trained.probe, ShiftDirection::random, trained.features, 5));
}

TEST_CASE("losses of a shift by hand") {
  Predictions two{2, {0, 1}, {1, -1, 0.5F, 2}};
  const ShiftScores scores = shift_scores(two, two, cyclic_labels(2, 2));
  CHECK(scores.ce == doctest::Approx((std::log1p(std::exp(-2)) + std::log1p(std::exp(-1.5))) / 2));
  CHECK(scores.bce == doctest::Approx((std::log1p(std::exp(-1)) + std::log1p(std::exp(-1)) + std::log1p(std::exp(0.5)) +
                                       std::log1p(std::exp(-2))) /
                                      4));
  CHECK(scores.top1 == 1);
}

TEST_CASE("what cannot be shifted is refused") {
  Trained trained;
  const Probe mlp =
      Probe::fresh({.name = "deep", .head = HeadKind::mlp, .layers = 2}, channels, class_names(classes), 1);
  CHECK_THROWS_WITH_AS(shift_vector(mlp, ShiftDirection::random, trained.features, 1),
                       doctest::Contains("'deep' is not linear; got head mlp"), Error);
  CHECK_THROWS_WITH_AS(shift_direction("up"), doctest::Contains("expected random, minus_mean_weight"), Error);
  Probe zero = trained.probe.copy("zero");
  const Tensor& weight = zero.parameters.at("head.weight");
  zero.parameters.set("head.weight",
                      Tensor::host(weight.shape(), std::vector<float>(static_cast<size_t>(weight.count()), 0.0F)));
  CHECK_THROWS_WITH_AS(shift_vector(zero, ShiftDirection::minus_mean_weight, trained.features, 1),
                       doctest::Contains("has no length"), Error);
}
