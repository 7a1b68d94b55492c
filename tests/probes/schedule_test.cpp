#include "probes/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

#include "runtime/error.h"

using hp::Position;
using hp::Schedule;

namespace {

constexpr int64_t steps = 10;

double rate(const Schedule& schedule, double base, int64_t epoch, int64_t step) {
  return base * schedule.factor({epoch, step, steps});
}

}  // namespace

TEST_CASE("a constant schedule stays") {
  const Schedule schedule;
  CHECK(schedule.factor({0, 0, 7}) == 1);
  CHECK(schedule.factor({1000, 6, 7}) == 1);
}

TEST_CASE("S1 divides by ten at epochs 60 and 80") {
  const Schedule s1 = Schedule::s1();
  CHECK(rate(s1, 30, 0, 0) == doctest::Approx(30).epsilon(1e-12));
  CHECK(rate(s1, 30, 59, 9) == doctest::Approx(30).epsilon(1e-12));
  CHECK(rate(s1, 30, 60, 0) == doctest::Approx(3).epsilon(1e-12));
  CHECK(rate(s1, 30, 79, 9) == doctest::Approx(3).epsilon(1e-12));
  CHECK(rate(s1, 30, 80, 0) == doctest::Approx(0.3).epsilon(1e-12));
  CHECK(rate(s1, 30, 99, 9) == doctest::Approx(0.3).epsilon(1e-12));
  CHECK(Schedule::s1(10).milestones == std::vector<int64_t>{6, 8});
  CHECK(Schedule::s1(1).factor({0, 0, steps}) == 1);
}

TEST_CASE("S2 warms up over five epochs and follows a cosine after them") {
  const Schedule s2 = Schedule::s2();
  // 50 warm-up steps; the first has 0.01 of the rate, the last all of it.
  CHECK(rate(s2, 0.001, 0, 0) == doctest::Approx(1e-5).epsilon(1e-12));
  CHECK(rate(s2, 0.001, 2, 5) == doctest::Approx(0.001 * (0.01 + 0.99 * 25 / 49)).epsilon(1e-12));
  CHECK(rate(s2, 0.001, 4, 9) == doctest::Approx(0.001).epsilon(1e-12));
  CHECK(rate(s2, 0.001, 5, 0) == doctest::Approx(0.001).epsilon(1e-12));
  CHECK(rate(s2, 1, 24, 0) == doctest::Approx(0.9045084971874737).epsilon(1e-12));  // (1 + cos(pi / 5)) / 2
  CHECK(rate(s2, 1, 24, 9) == rate(s2, 1, 24, 0));                                  // constant within an epoch
  CHECK(rate(s2, 1, 43, 0) == doctest::Approx(0.6545084971874737).epsilon(1e-12));  // (1 + cos(2 pi / 5)) / 2
  CHECK(rate(s2, 1, 99, 0) == doctest::Approx(0.5 * (1 + std::cos(M_PI * 94 / 95))).epsilon(1e-9));
  CHECK(Schedule::s2(40).warmup_epochs == 2);
  CHECK(Schedule::s2(1).warmup_epochs == 0);
}

TEST_CASE("S3 warms up over the first epoch and divides by ten every six") {
  const Schedule s3 = Schedule::s3();
  CHECK(rate(s3, 30, 0, 0) == doctest::Approx(3e-6).epsilon(1e-9));
  CHECK(rate(s3, 30, 0, 3) == doctest::Approx(30 * (1e-7 + (1 - 1e-7) / 3)).epsilon(1e-12));
  CHECK(rate(s3, 30, 0, 9) == doctest::Approx(30).epsilon(1e-12));
  CHECK(rate(s3, 30, 5, 9) == doctest::Approx(30).epsilon(1e-12));
  CHECK(rate(s3, 30, 6, 0) == doctest::Approx(3).epsilon(1e-12));
  CHECK(rate(s3, 30, 12, 0) == doctest::Approx(0.3).epsilon(1e-12));
  CHECK(rate(s3, 30, 49, 0) == doctest::Approx(30e-8).epsilon(1e-9));
}

TEST_CASE("a cosine goes down per step where it is told to, behind a warm-up that goes up per step") {
  Schedule schedule;
  schedule.decay = Schedule::Decay::cosine;
  schedule.epochs = 12;
  schedule.warmup_epochs = 2;
  schedule.warmup_start = 0.1;
  schedule.per_step = true;
  CHECK(rate(schedule, 2, 0, 0) == doctest::Approx(0.2).epsilon(1e-12));
  CHECK(rate(schedule, 2, 1, 9) == doctest::Approx(2).epsilon(1e-12));
  for (int64_t epoch = 2; epoch < 12; ++epoch) {
    for (int64_t step = 0; step < steps; ++step) {
      const double done = (static_cast<double>(epoch - 2) + static_cast<double>(step) / steps) / 10;
      CHECK(rate(schedule, 2, epoch, step) == doctest::Approx(1 + std::cos(M_PI * done)).epsilon(1e-12));
    }
  }
  schedule.minimum = 0.25;
  CHECK(rate(schedule, 2, 7, 0) == doctest::Approx(2 * (0.25 + 0.75 * 0.5)).epsilon(1e-12));
}

TEST_CASE("schedules out of range are refused") {
  Schedule schedule;
  schedule.gamma = 0;
  CHECK_THROWS_AS(schedule.check(), hp::Error);
  schedule = Schedule::s2(5);
  schedule.warmup_epochs = 5;
  CHECK_THROWS_WITH_AS(schedule.check(), doctest::Contains("cosine"), hp::Error);
  schedule = Schedule::s1();
  schedule.milestones = {80, 60};
  CHECK_THROWS_WITH_AS(schedule.check(), doctest::Contains("80, 60"), hp::Error);
  CHECK_THROWS_WITH_AS(hp::decay_kind("cosin"), doctest::Contains("'cosin'"), hp::Error);
  CHECK(hp::decay_kind("multi_step") == Schedule::Decay::multi_step);
}
