#include "probes/evaluation.h"

#include <doctest/doctest.h>

#include <atomic>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "tests/probes/toy.h"

using namespace hp;
using namespace hp::test;

namespace {

Predictions predictions_of(int64_t classes, std::vector<float> logits) {
  Predictions predictions;
  predictions.classes = classes;
  for (int64_t i = 0; i * classes < static_cast<int64_t>(logits.size()); ++i) predictions.samples.push_back(i);
  predictions.logits = std::move(logits);
  return predictions;
}

constexpr Truth no = Truth::absent, yes = Truth::present, skip = Truth::ignored;

double ap(const std::vector<float>& scores, const std::vector<Truth>& truth) {
  return average_precision(scores, truth);
}

}  // namespace

TEST_CASE("average precision of cases worked out by hand") {
  CHECK(ap({0.9F, 0.8F, 0.7F}, {yes, yes, no}) == 1);
  CHECK(ap({0.9F, 0.8F, 0.7F}, {no, yes, yes}) == doctest::Approx((1.0 / 2 + 2.0 / 3) / 2).epsilon(1e-12));
  CHECK(ap({0.1F, 0.9F, 0.5F, 0.3F}, {yes, no, yes, no}) == doctest::Approx((1.0 / 2 + 2.0 / 4) / 2).epsilon(1e-12));
  CHECK(ap({0.3F, 0.2F}, {no, no}) == 0);
  CHECK(ap({}, {}) == 0);
}

TEST_CASE("equal scores rank in the order of samples") {
  CHECK(ap({0.5F, 0.5F, 0.5F}, {yes, no, no}) == 1);
  CHECK(ap({0.5F, 0.5F, 0.5F}, {no, no, yes}) == doctest::Approx(1.0 / 3).epsilon(1e-12));
  CHECK(ap({0.5F, 0.7F, 0.5F, 0.5F}, {no, yes, yes, no}) == doctest::Approx((1.0 + 2.0 / 3) / 2).epsilon(1e-12));
}

TEST_CASE("ignored samples take no rank") {
  CHECK(ap({0.9F, 0.8F, 0.7F}, {skip, yes, no}) == 1);
  CHECK(ap({0.9F, 0.8F, 0.7F, 0.6F}, {no, skip, skip, yes}) == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(ap({0.9F}, {skip}) == 0);
}

TEST_CASE("top-1 and top-5 by hand") {
  const Labels labels = cyclic_labels(3, 6);                              // 0, 1, 2
  const Predictions predictions = predictions_of(6, {9, 1, 2, 3, 4, 5,    // right
                                                     1, 2, 3, 4, 5, 6,    // rank 4: among five
                                                     4, 5, 0, 6, 7, 8});  // rank 5: not
  const Accuracy scores = accuracy(predictions, labels);
  CHECK(scores.top1 == doctest::Approx(1.0 / 3));
  CHECK(scores.top5 == doctest::Approx(2.0 / 3));
  CHECK(predictions.best(1) == 5);
  // Of equal logits the lower class comes first, in `best` and in the rank.
  const Predictions ties = predictions_of(6, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  CHECK(ties.best(2) == 0);
  CHECK(accuracy(ties, labels).top1 == doctest::Approx(1.0 / 3));
}

TEST_CASE("multi-label scores by hand, with difficult labels") {
  Labels labels(2, true);
  const std::vector<int> none, first{0}, second{1}, both{0, 1};
  labels.add(first);          // class 0 present
  labels.add(second, first);  // class 0 difficult only: ignored
  labels.add(both, first);    // present and difficult: present
  labels.add(none);
  //                                             predicted:   0      0,1     none      1
  const Predictions predictions = predictions_of(2, {2, -1, 3, 1, -1, -2, -3, 0});
  const MultiLabelScores scores = multi_label_scores(predictions, labels);
  // Class 0: scores 2 (yes), -1 (yes), -3 (no) -> 1. Class 1: 1 (yes), 0 (no), -1 (no), -2 (yes) -> (1 + 2/4) / 2.
  REQUIRE(scores.average_precision.size() == 2);
  CHECK(scores.average_precision[0] == doctest::Approx(1).epsilon(1e-12));
  CHECK(scores.average_precision[1] == doctest::Approx(0.75).epsilon(1e-12));
  CHECK(scores.mean_average_precision == doctest::Approx(0.875).epsilon(1e-12));
  // Class 0: 1 right of 1 predicted, 2 present. Class 1 (a logit of 0 counts as predicted): 1 of 2, 2 present.
  CHECK(scores.macro.precision == doctest::Approx(0.75).epsilon(1e-12));
  CHECK(scores.macro.recall == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(scores.macro.f1 == doctest::Approx((2.0 / 3 + 0.5) / 2).epsilon(1e-9));
  CHECK(scores.micro.precision == doctest::Approx(2.0 / 3).epsilon(1e-12));
  CHECK(scores.micro.recall == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(scores.micro.f1 == doctest::Approx(4.0 / 7).epsilon(1e-9));
}

TEST_CASE("a class without positives counts zero in the mean") {
  Labels labels(2, true);
  const std::vector<int> first{0};
  labels.add(first);
  const MultiLabelScores scores = multi_label_scores(predictions_of(2, {1, -1}), labels);
  CHECK(scores.mean_average_precision == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(scores.macro.f1 == doctest::Approx(0.5).epsilon(1e-9));
}

TEST_CASE("predictions do not depend on the batch size") {
  CpuKernels kernels;
  const FeatureTensor features(random_maps({13, 3, 3, 16}, 1));
  const Probe probe = Probe::fresh({"p", HeadKind::linear, LossKind::ce, true, 0, 0}, 16, class_names(5), 2);
  const Predictions whole = *predict(probe, features, 13, kernels);
  CHECK(whole.rows() == 13);
  for (const int64_t batch : {1, 4, 100}) {
    const Predictions parts = *predict(probe, features, batch, kernels);
    REQUIRE(parts.logits.size() == whole.logits.size());
    for (size_t i = 0; i < whole.logits.size(); ++i)
      CHECK(parts.logits[i] == doctest::Approx(whole.logits[i]).epsilon(1e-5).scale(1));
  }
  const std::atomic<bool> cancelled{true};
  CHECK_FALSE(predict(probe, features, 4, kernels, &cancelled).has_value());
}

TEST_CASE("scores refuse data of the other kind") {
  const Predictions predictions = predictions_of(2, {1, -1});
  Labels multi(2, true);
  multi.add({});
  CHECK_THROWS_WITH_AS(accuracy(predictions, multi), doctest::Contains("multi-label"), Error);
  CHECK_THROWS_WITH_AS(accuracy(predictions, cyclic_labels(1, 3)), doctest::Contains("do not fit"), Error);
}
