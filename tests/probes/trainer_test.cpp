#include "probes/trainer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/evaluation.h"
#include "runtime/error.h"
#include "tests/probes/toy.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr int64_t samples = 61, classes = 5, channels = classes + 2;  // 61: the last batch is smaller

Probe probe_with(LossKind loss, double learning_rate = 0) {
  const ProbeSpec spec{std::string(name_of(loss)), HeadKind::linear, loss, true, 0, learning_rate};
  return Probe::fresh(spec, channels, class_names(classes), 9);
}

Recipe recipe_of(int64_t epochs) {
  Recipe recipe;
  recipe.learning_rate = 1;
  recipe.epochs = epochs;
  recipe.batch_size = 16;
  recipe.shuffle.seed = 3;
  return recipe;
}

struct Data {
  FeatureTensor features{separable_maps(samples, classes, 3, 21)};
  Labels labels = cyclic_labels(samples, classes);
};

TrainingReport train_all(std::vector<Probe*> probes, const Data& data, const Recipe& recipe,
                         const TrainingOptions& options = {}) {
  CpuKernels kernels;
  return train(probes, data.features, data.labels, recipe, kernels, options);
}

std::vector<float> weights_of(const Probe& probe) {
  std::vector<float> all = values_of(probe.parameters.at("head.weight"));
  const std::vector<float> bias = values_of(probe.parameters.at("head.bias"));
  all.insert(all.end(), bias.begin(), bias.end());
  return all;
}

}  // namespace

TEST_CASE("every loss separates what can be separated") {
  const Data data;
  Probe ce = probe_with(LossKind::ce), bce = probe_with(LossKind::bce, 5), uo_bce = probe_with(LossKind::uo_bce, 5);
  const TrainingReport report = train_all({&ce, &bce, &uo_bce}, data, recipe_of(40));
  CHECK(report.epochs == 40);
  REQUIRE(report.curves.size() == 40);
  CpuKernels kernels;
  for (const Probe* probe : {&ce, &bce, &uo_bce}) {
    CAPTURE(probe->spec().name);
    CHECK(accuracy(*predict(*probe, data.features, 16, kernels), data.labels).top1 == 1);
  }
  for (size_t i = 0; i < 3; ++i) {
    CHECK(report.curves.back().probes[i].loss < 0.7 * report.curves.front().probes[i].loss);
    CHECK(report.curves.back().probes[i].top1 == 1);
  }
}

TEST_CASE("the same recipe gives the same bits") {
  const Data data;
  Probe first = probe_with(LossKind::ce), second = probe_with(LossKind::ce), other = probe_with(LossKind::ce);
  train_all({&first}, data, recipe_of(5));
  train_all({&second}, data, recipe_of(5));
  CHECK(weights_of(first) == weights_of(second));
  Recipe recipe = recipe_of(5);
  recipe.shuffle.seed = 4;
  train_all({&other}, data, recipe);
  CHECK(weights_of(first) != weights_of(other));
}

TEST_CASE("three probes trained together equal three trained alone, bit for bit") {
  const Data data;
  const std::vector<LossKind> losses{LossKind::ce, LossKind::bce, LossKind::uo_bce};
  std::vector<Probe> together, alone;
  std::vector<Probe*> all;
  for (const LossKind loss : losses) {
    together.push_back(probe_with(loss));
    alone.push_back(probe_with(loss));
  }
  for (Probe& probe : together) all.push_back(&probe);
  train_all(all, data, recipe_of(6));
  for (size_t i = 0; i < losses.size(); ++i) {
    train_all({&alone[i]}, data, recipe_of(6));
    CAPTURE(name_of(losses[i]));
    CHECK(weights_of(together[i]) == weights_of(alone[i]));
  }
}

TEST_CASE("linear probes on pooled features share one product, and equal those trained alone, bit for bit") {
  constexpr int64_t rows = 267, wide = 2048, many = 20;  // 11 in the last batch
  const FeatureTensor features(random_maps({rows, 1, 1, wide}, 4));
  const Labels labels = cyclic_labels(rows, many);
  Recipe recipe = recipe_of(2);
  recipe.batch_size = 128;
  recipe.accumulate = 2;
  recipe.optimizer.weight_decay = 1e-3;
  recipe.optimizer.clip_norm = 0.5;
  const auto probes = [&] {
    std::vector<Probe> result;
    for (int i = 0; i < 5; ++i) {
      ProbeSpec spec{"probe" + std::to_string(i), HeadKind::linear, i % 2 == 0 ? LossKind::ce : LossKind::bce, i != 3};
      spec.learning_rate = 0.01 * (i + 1);
      result.push_back(Probe::fresh(spec, wide, class_names(many), 7));
    }
    return result;
  };
  const auto weights = [](const Probe& probe) {
    std::vector<float> all = values_of(probe.parameters.at("head.weight"));
    if (!probe.spec().bias) return all;
    const std::vector<float> bias = values_of(probe.parameters.at("head.bias"));
    all.insert(all.end(), bias.begin(), bias.end());
    return all;
  };
  CpuKernels kernels;
  std::vector<Probe> together = probes(), alone = probes();
  std::vector<Probe*> all;
  for (Probe& probe : together) all.push_back(&probe);
  const TrainingReport report = train(all, features, labels, recipe, kernels);
  for (size_t i = 0; i < alone.size(); ++i) {
    CAPTURE(i);
    Probe* one[] = {&alone[i]};
    const TrainingReport own = train(one, features, labels, recipe, kernels);
    CHECK(weights(together[i]) == weights(alone[i]));
    CHECK(report.curves.back().probes[i].loss == own.curves.back().probes[0].loss);
  }
}

// One linear probe on pooled features, full-batch, restated in double precision: momentum, weight decay, Nesterov and
// the schedule.
TEST_CASE("training follows the optimiser's formula") {
  const Data data;
  Recipe recipe = recipe_of(4);
  recipe.batch_size = samples;
  recipe.learning_rate = 0.5;
  recipe.optimizer.weight_decay = 0.01;
  for (const bool nesterov : {false, true}) {
    CAPTURE(nesterov);
    recipe.optimizer.nesterov = nesterov;
    recipe.schedule = Schedule::s1(4);  // divides by ten at epochs 2 and 3
    Probe probe = probe_with(LossKind::ce);
    std::vector<float> initial = weights_of(probe);
    std::vector<double> w(initial.begin(), initial.end()), v(w.size(), 0), g(w.size());
    const double rates[] = {0.5, 0.5, 0.05, 0.005};
    std::vector<float> row(static_cast<size_t>(9 * channels));
    for (const double rate : rates) {
      std::fill(g.begin(), g.end(), 0);
      for (int64_t i = 0; i < samples; ++i) {
        data.features.gather({&i, 1}, row.data());
        std::vector<double> x(channels, 0), z(classes);
        for (size_t j = 0; j < row.size(); ++j) x[j % channels] += row[j] / 9.0;
        double sum = 0;
        for (size_t k = 0; k < classes; ++k) {
          z[k] = w[classes * channels + k];
          for (size_t c = 0; c < channels; ++c) z[k] += w[k * channels + c] * x[c];
          sum += std::exp(z[k]);
        }
        for (size_t k = 0; k < classes; ++k) {
          const double d = (std::exp(z[k]) / sum - (static_cast<int64_t>(k) == i % classes)) / samples;
          for (size_t c = 0; c < channels; ++c) g[k * channels + c] += d * x[c];
          g[classes * channels + k] += d;
        }
      }
      for (size_t i = 0; i < w.size(); ++i) {
        const double step = g[i] + 0.01 * w[i];
        v[i] = 0.9 * v[i] + step;
        w[i] -= rate * (nesterov ? step + 0.9 * v[i] : v[i]);
      }
    }
    train_all({&probe}, data, recipe);
    const std::vector<float> trained = weights_of(probe);
    for (size_t i = 0; i < w.size(); ++i) CHECK(trained[i] == doctest::Approx(w[i]).epsilon(1e-5).scale(0.5));
  }
}

TEST_CASE("multi-label probes learn each class") {
  const Data data;
  Labels labels(classes, true);
  for (int64_t i = 0; i < samples; ++i) {
    const std::vector<int> present{static_cast<int>(i % classes)};
    labels.add(present);
  }
  Probe bce = probe_with(LossKind::bce, 10), ce = probe_with(LossKind::ce);
  CpuKernels kernels;
  std::vector<Probe*> probes{&bce};
  const TrainingReport report = train(probes, data.features, labels, recipe_of(60), kernels);
  CHECK(report.curves.back().probes[0].top1 == -1);
  CHECK(multi_label_scores(*predict(bce, data.features, 16, kernels), labels).mean_average_precision > 0.99);
  probes = {&ce};
  CHECK_THROWS_WITH_AS(train(probes, data.features, labels, recipe_of(1), kernels), doctest::Contains("multi-label"),
                       Error);
}

TEST_CASE("a loss that is not finite stops with the probe's name and keeps the last complete epoch") {
  const Data data;
  Probe good = probe_with(LossKind::ce), bad = probe_with(LossKind::bce, 3e38), reference = probe_with(LossKind::ce);
  bool seen = false;
  try {
    train_all({&good, &bad}, data, recipe_of(50));
  } catch (const Error& error) {
    seen = true;
    const std::string text = error.what();
    CHECK(text.find("'bce'") != std::string::npos);
    CHECK(text.find("not finite") != std::string::npos);
    CHECK(text.find("try 3e+37") != std::string::npos);
    const int64_t epochs = std::stoll(text.substr(text.find("kept: ") + 6));
    if (epochs > 0) train_all({&reference}, data, recipe_of(epochs));
  }
  CHECK(seen);
  CHECK(weights_of(good) == weights_of(reference));
  for (const float value : weights_of(bad)) CHECK(std::isfinite(value));
}

TEST_CASE("cancelling keeps the last complete epoch, and progress is told") {
  const Data data;
  Probe probe = probe_with(LossKind::ce), reference = probe_with(LossKind::ce);
  std::atomic<bool> cancelled{false};
  std::vector<Progress> seen;
  TrainingOptions options;
  options.cancelled = &cancelled;
  options.progress = [&](const Progress& progress) {
    if (progress.step < progress.steps) return;  // where the machine is slow
    seen.push_back(progress);
    if (progress.epoch == 2) cancelled = true;
  };
  const TrainingReport report = train_all({&probe}, data, recipe_of(50), options);
  CHECK(report.epochs == 3);
  train_all({&reference}, data, recipe_of(3));
  CHECK(weights_of(probe) == weights_of(reference));
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].step == 4);
  CHECK(seen[0].steps == 4);
  CHECK(seen[0].epochs == 50);
  CHECK(seen[0].samples_per_second > 0);
  CHECK(seen[0].probes[0].name == "ce");
}

TEST_CASE("several batches of one step are one batch of all of them") {
  const Data data;  // 61 samples: the last step has 13, in batches of 8 and 5
  Recipe whole = recipe_of(5), parts = whole;
  parts.batch_size = 8;
  parts.accumulate = 2;
  for (const LossKind loss : {LossKind::ce, LossKind::bce}) {
    CAPTURE(name_of(loss));
    Probe one = probe_with(loss), two = probe_with(loss), small = probe_with(loss);
    train_all({&one}, data, whole);
    train_all({&two}, data, parts);
    const std::vector<float> a = weights_of(one), b = weights_of(two);
    for (size_t i = 0; i < a.size(); ++i) CHECK(b[i] == doctest::Approx(a[i]).epsilon(1e-5).scale(0.1));
    parts.accumulate = 1;  // twice as many steps are another training
    train_all({&small}, data, parts);
    double difference = 0;
    for (size_t i = 0; i < a.size(); ++i)
      difference = std::max<double>(difference, std::abs(weights_of(small)[i] - a[i]));
    CHECK(difference > 1e-2);
    parts.accumulate = 2;
  }
}

TEST_CASE("label smoothing keeps the loss from 0 by what torch's keeps it") {
  const Data data;
  Recipe recipe = recipe_of(300);
  recipe.label_smoothing = 0.2;
  Probe ce = probe_with(LossKind::ce);
  const TrainingReport report = train_all({&ce}, data, recipe);
  // The least cross entropy of targets 0.84 and four times 0.04 is their entropy.
  const double least = -0.84 * std::log(0.84) - 4 * 0.04 * std::log(0.04);
  CHECK(report.curves.back().probes[0].loss > least);
  CHECK(report.curves.back().probes[0].loss < least + 0.02);
}

TEST_CASE("a converted probe is left as it is") {
  const Data data;
  Parameters backbone;
  backbone.set("head.weight", random_maps({classes, channels}, 1));
  Probe probe = Probe::converted({"own", HeadKind::converted, LossKind::ce, true, 0, 0}, backbone, channels,
                                 class_names(classes));
  const std::vector<float> before = values_of(probe.parameters.at("head.weight"));
  CHECK(train_all({&probe}, data, recipe_of(3)).epochs == 0);
  CHECK(values_of(probe.parameters.at("head.weight")) == before);
}

TEST_CASE("recipes and data that do not fit are refused") {
  const Data data;
  Probe probe = probe_with(LossKind::ce);
  Recipe recipe = recipe_of(1);
  recipe.optimizer.momentum = 1;
  CHECK_THROWS_WITH_AS(train_all({&probe}, data, recipe), doctest::Contains("momentum"), Error);
  CpuKernels kernels;
  std::vector<Probe*> probes{&probe};
  CHECK_THROWS_WITH_AS(train(probes, data.features, cyclic_labels(samples, 6), recipe_of(1), kernels),
                       doctest::Contains("other classes"), Error);
  CHECK_THROWS_WITH_AS(train(probes, data.features, cyclic_labels(samples - 1, classes), recipe_of(1), kernels),
                       doctest::Contains("fewer labels"), Error);
}
