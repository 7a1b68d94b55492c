#include "probes/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {
namespace {

double warm_up(const Schedule& schedule, const Position& position) {
  const int64_t steps = schedule.warmup_epochs * position.steps_per_epoch;
  const int64_t step = position.epoch * position.steps_per_epoch + position.step;
  if (step >= steps - 1) return 1;
  return schedule.warmup_start +
         (1 - schedule.warmup_start) * static_cast<double>(step) / static_cast<double>(steps - 1);
}

double decay(const Schedule& schedule, const Position& position) {
  const int64_t epoch = position.epoch;
  switch (schedule.decay) {
    case Schedule::Decay::constant:
      return 1;
    case Schedule::Decay::multi_step: {
      const auto passed = std::count_if(schedule.milestones.begin(), schedule.milestones.end(),
                                        [&](int64_t milestone) { return milestone <= epoch; });
      return std::pow(schedule.gamma, static_cast<double>(passed));
    }
    case Schedule::Decay::step: {
      const int64_t passed = epoch / schedule.step_epochs;
      return std::pow(schedule.gamma, static_cast<double>(passed));
    }
    case Schedule::Decay::cosine: {
      const auto length = static_cast<double>(schedule.epochs - schedule.warmup_epochs);
      double past = static_cast<double>(epoch - schedule.warmup_epochs);
      if (schedule.per_step) past += static_cast<double>(position.step) / static_cast<double>(position.steps_per_epoch);
      const double turn = std::numbers::pi * std::clamp(past, 0.0, length) / length;
      return schedule.minimum + (1 - schedule.minimum) * (1 + std::cos(turn)) / 2;
    }
  }
  return 1;
}

}  // namespace

double Schedule::factor(const Position& position) const {
  return warm_up(*this, position) * hp::decay(*this, position);
}

void Schedule::check() const {
  require(gamma > 0 && gamma <= 1, "[schedule] gamma out of range; got {}; expected above 0 and at most 1", gamma);
  require(step_epochs >= 1, "[schedule] step_epochs out of range; got {}; expected at least 1", step_epochs);
  require(std::is_sorted(milestones.begin(), milestones.end()) && (milestones.empty() || milestones[0] >= 0),
          "[schedule] milestones out of order; got {}; expected ascending epochs", fmt::join(milestones, ", "));
  require(warmup_epochs >= 0, "[schedule] warmup_epochs out of range; got {}; expected at least 0", warmup_epochs);
  require(warmup_start >= 0 && warmup_start <= 1, "[schedule] warmup_start out of range; got {}; expected 0 to 1",
          warmup_start);
  require(minimum >= 0 && minimum <= 1, "[schedule] minimum out of range; got {}; expected 0 to 1", minimum);
  require(decay != Decay::cosine || epochs > warmup_epochs,
          "[schedule] a cosine needs epochs after its warm-up; got {} epochs and {} of warm-up; expected more epochs",
          epochs, warmup_epochs);
}

Schedule Schedule::s1(int64_t epochs) {
  Schedule schedule;
  schedule.decay = Decay::multi_step;
  schedule.milestones = {std::max<int64_t>(1, epochs * 60 / 100), std::max<int64_t>(1, epochs * 80 / 100)};
  return schedule;
}

Schedule Schedule::s2(int64_t epochs) {
  Schedule schedule;
  schedule.decay = Decay::cosine;
  schedule.epochs = epochs;
  schedule.warmup_epochs = epochs > 1 ? std::max<int64_t>(1, epochs * 5 / 100) : 0;
  schedule.warmup_start = 0.01;
  return schedule;
}

Schedule Schedule::s3() {
  Schedule schedule;
  schedule.decay = Decay::step;
  schedule.step_epochs = 6;
  schedule.warmup_epochs = 1;
  schedule.warmup_start = 1e-7;
  return schedule;
}

std::string_view name_of(Schedule::Decay decay) {
  switch (decay) {
    case Schedule::Decay::constant:
      return "constant";
    case Schedule::Decay::multi_step:
      return "multi_step";
    case Schedule::Decay::step:
      return "step";
    case Schedule::Decay::cosine:
      return "cosine";
  }
  return "?";
}

Schedule::Decay decay_kind(std::string_view name) {
  using Decay = Schedule::Decay;
  for (const Decay decay : {Decay::constant, Decay::multi_step, Decay::step, Decay::cosine}) {
    if (name_of(decay) == name) return decay;
  }
  fail("[schedule] unknown schedule; got {}; expected constant, multi_step, step or cosine", printable(name));
}

}  // namespace hp
