#include "probes/loss.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/ops/loss.h"

using namespace hp;

namespace {

const std::vector<float> logits{0.5F, -1, 2, 0, 1, 1, -3, 0.2F};  // protocol.md 9

Labels single() {
  Labels labels(4, false);
  for (const int label : {2, 0}) labels.add({&label, 1});
  return labels;
}

Labels multi() {
  Labels labels(4, true);
  const std::vector<int> both{2, 3};
  labels.add(both);
  labels.add({});
  return labels;
}

double loss_value(LossKind kind, const Labels& labels, double smoothing = 0) {
  const std::vector<int64_t> samples{0, 1};
  std::vector<float> targets(8);
  write_targets(kind, labels, samples, targets, smoothing);
  Graph graph;
  const Value z = graph.input("logits", {2, 4}), t = graph.input("targets", {2, 4});
  const Value loss = graph.add(std::make_shared<LossOp>(op_of(kind)), {z, t}, "loss");
  CpuKernels kernels;
  const Parameters none;
  Executor executor(graph, none, kernels, Keep::outputs);
  const Tensor inputs[] = {Tensor::host({2, 4}, logits), Tensor::host({2, 4}, targets)};
  return executor.run(inputs).value(loss.index).floats()[0];
}

}  // namespace

TEST_CASE("losses have the protocol's golden values") {
  CHECK(loss_value(LossKind::uo_bce, single()) == doctest::Approx(0.64445794).epsilon(1e-6));
  CHECK(loss_value(LossKind::bce, single()) == doctest::Approx(0.57258296).epsilon(1e-6));
  CHECK(loss_value(LossKind::uo_bce, multi()) == doctest::Approx(0.73820788).epsilon(1e-6));
  // By hand: log(e^-1.5 + e^-3 + 1 + e^-2) and log(2 + e^-4 + e^-0.8), their mean.
  const double first = std::log(std::exp(-1.5) + std::exp(-3.0) + 1 + std::exp(-2.0));
  const double second = std::log(2 + std::exp(-4.0) + std::exp(-0.8));
  CHECK(loss_value(LossKind::ce, single()) == doctest::Approx((first + second) / 2).epsilon(1e-6));
}

TEST_CASE("targets are one-hot, multi-hot, or raised to 1/classes") {
  const std::vector<int64_t> samples{1, 0};
  std::vector<float> targets(8);
  write_targets(LossKind::ce, single(), samples, targets);
  CHECK(targets == std::vector<float>{1, 0, 0, 0, 0, 0, 1, 0});
  write_targets(LossKind::bce, multi(), samples, targets);
  CHECK(targets == std::vector<float>{0, 0, 0, 0, 0, 0, 1, 1});
  write_targets(LossKind::uo_bce, multi(), samples, targets);
  CHECK(targets == std::vector<float>{0.25F, 0.25F, 0.25F, 0.25F, 0.25F, 0.25F, 1, 1});
}

TEST_CASE("label smoothing gives every class the same share") {
  const std::vector<int64_t> samples{1, 0};
  std::vector<float> targets(8);
  write_targets(LossKind::ce, single(), samples, targets, 0.2);
  const std::vector<float> want{0.85F, 0.05F, 0.05F, 0.05F, 0.05F, 0.05F, 0.85F, 0.05F};
  for (size_t i = 0; i < want.size(); ++i) CHECK(targets[i] == doctest::Approx(want[i]).epsilon(1e-6));
  // torch.nn.CrossEntropyLoss: (1 - s) of the plain loss and s of the mean of -log p over the classes.
  const double plain = loss_value(LossKind::ce, single());
  double uniform = 0;
  for (size_t row = 0; row < 2; ++row) {
    double sum = 0, mean = 0;
    for (size_t k = 0; k < 4; ++k) {
      sum += std::exp(static_cast<double>(logits[row * 4 + k]));
      mean += static_cast<double>(logits[row * 4 + k]) / 4;
    }
    uniform += (std::log(sum) - mean) / 2;
  }
  CHECK(loss_value(LossKind::ce, single(), 0.2) == doctest::Approx(0.8 * plain + 0.2 * uniform).epsilon(1e-6));
}

TEST_CASE("difficult classes are absent in the targets") {
  Labels labels(3, true);
  const std::vector<int> present{0}, difficult{2};
  labels.add(present, difficult);
  const std::vector<int64_t> samples{0};
  std::vector<float> targets(3);
  write_targets(LossKind::bce, labels, samples, targets);
  CHECK(targets == std::vector<float>{1, 0, 0});
}

TEST_CASE("labels that make no sense are refused") {
  Labels labels(3, false);
  const std::vector<int> two{0, 1}, high{3}, negative{-1};
  CHECK_THROWS_WITH_AS(labels.add(two), doctest::Contains("one class a sample"), Error);
  CHECK_THROWS_WITH_AS(labels.add(high), doctest::Contains("0..2"), Error);
  CHECK_THROWS_AS(labels.add(negative), Error);
  CHECK_THROWS_AS(labels.add({}), Error);
  CHECK_THROWS_WITH_AS(check_loss(LossKind::ce, multi()), doctest::Contains("multi-label"), Error);
  CHECK_NOTHROW(check_loss(LossKind::bce, multi()));
  CHECK_THROWS_WITH_AS(loss_kind("mse"), doctest::Contains("'mse'"), Error);
  CHECK(loss_kind("uo_bce") == LossKind::uo_bce);
}

TEST_CASE("probabilities are softmax for ce and sigmoid for bce") {
  const std::vector<float> row{0, 1, -2};
  const double sum = 1 + std::exp(1.0) + std::exp(-2.0);
  CHECK(probability(LossKind::ce, row, 1) == doctest::Approx(std::exp(1.0) / sum).epsilon(1e-12));
  CHECK(probability(LossKind::bce, row, 1) == doctest::Approx(1 / (1 + std::exp(-1.0))).epsilon(1e-12));
  CHECK(probability(LossKind::uo_bce, row, 0) == 0.5);
  const std::vector<float> large{1000, 999};
  CHECK(probability(LossKind::ce, large, 0) == doctest::Approx(1 / (1 + std::exp(-1.0))).epsilon(1e-12));
}
