// The paper's argument in numbers: a vector added to every class's weights changes nothing that cross entropy sees.
#include "probes/shift.h"

#include <doctest/doctest.h>

#include <atomic>
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
  CHECK(shift_scores(before, before, trained.labels).softmax_change == 0);
  for (const ShiftDirection direction :
       {ShiftDirection::random, ShiftDirection::minus_mean_weight, ShiftDirection::mean_feature}) {
    CAPTURE(name_of(direction));
    const std::vector<float> unit = shift_vector(trained.probe, direction, trained.features, 4);
    double length = 0;
    for (const float value : unit) length += static_cast<double>(value) * value;
    CHECK(length == doctest::Approx(1).epsilon(1e-6));
    const std::vector<double> scales{0, -2, -0.5, 0.5, 2};
    const auto all = exact_shift_scores(trained.probe, unit, scales, trained.features, trained.labels);
    REQUIRE(all.has_value());
    const ShiftScores& unshifted = all->front();
    CHECK(std::isfinite(unshifted.ce));
    for (size_t i = 1; i < scales.size(); ++i) {
      CAPTURE(scales[i]);
      const ShiftScores& scores = (*all)[i];
      CHECK(scores.softmax_change < 1e-5);
      CHECK(std::abs(scores.ce - unshifted.ce) < 1e-4 * unshifted.ce);
      CHECK(scores.top1 == unshifted.top1);
      // The other half: probabilities of one class at a time are others, and so is their loss.
      CHECK(scores.sigmoid_change > 1e-3);
      CHECK(std::abs(scores.bce - unshifted.bce) > 1e-3 * unshifted.bce);
    }
  }
}

// Features of ReLU networks are positive and their mean is long: along it the shift moves every logit by hundreds.
TEST_CASE("a large shift leaves softmax alone in double precision; float32 rounds its last digits away") {
  constexpr int64_t many = 512;
  const Tensor maps = random_maps({samples, 4, 4, many}, 5);
  for (int64_t i = 0; i < maps.count(); ++i) maps.floats()[i] *= 6;
  const FeatureTensor features(maps);
  const Labels labels = cyclic_labels(samples, classes);
  ProbeSpec spec{"ce", HeadKind::linear, LossKind::ce, true, -1.5F, 0};
  spec.temperature = 0.5F;
  Probe probe = Probe::fresh(spec, many, class_names(classes), 9);
  for (int64_t i = 0; i < probe.parameters.at("head.weight").count(); ++i)
    probe.parameters.at("head.weight").floats()[i] *= 3;
  CpuKernels kernels;
  const Predictions before = *predict(probe, features, 32, kernels);
  const std::vector<double> scales{-2, -1, 0, 1, 2};
  double worst_float32 = 0;
  for (const ShiftDirection direction :
       {ShiftDirection::random, ShiftDirection::minus_mean_weight, ShiftDirection::mean_feature}) {
    CAPTURE(name_of(direction));
    const std::vector<float> unit = shift_vector(probe, direction, features, 4);
    const auto exact = exact_shift_scores(probe, unit, scales, features, labels);
    REQUIRE(exact.has_value());
    REQUIRE(exact->size() == scales.size());
    const ShiftScores& unshifted = (*exact)[2];
    CHECK(unshifted.softmax_change == 0);
    for (size_t i = 0; i < scales.size(); ++i) {
      const ShiftScores& scores = (*exact)[i];
      CHECK(scores.softmax_change < 1e-10);
      CHECK(std::abs(scores.ce - unshifted.ce) < 1e-10 * unshifted.ce);
      CHECK(scores.top1 == unshifted.top1);
      if (scales[i] == 0) continue;
      CHECK(scores.sigmoid_change > 1e-3);
      CHECK(std::abs(scores.bce - unshifted.bce) > 1e-3 * unshifted.bce);
      // What the network computes is this, rounded.
      const Predictions after = *predict(shifted(probe, unit, scales[i]), features, 32, kernels);
      const ShiftScores rounded = shift_scores(after, before, labels);
      CHECK(rounded.ce == doctest::Approx(scores.ce).epsilon(1e-4));
      CHECK(rounded.bce == doctest::Approx(scores.bce).epsilon(1e-5));
      CHECK(rounded.sigmoid_change == doctest::Approx(scores.sigmoid_change).epsilon(1e-3));
      CHECK(rounded.softmax_change < 1e-3);
      worst_float32 = std::max(worst_float32, rounded.softmax_change);
    }
  }
  MESSAGE("largest change of a softmax in float32: ", worst_float32);
  CHECK(worst_float32 > 1e-5);
  const std::atomic<bool> cancelled = true;
  const std::vector<float> unit = shift_vector(probe, ShiftDirection::random, features, 4);
  CHECK_FALSE(exact_shift_scores(probe, unit, scales, features, labels, &cancelled).has_value());
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
