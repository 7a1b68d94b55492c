// Schedule: the learning rate as a function of the position in training (protocol.md 3.4).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hp {

// Steps count from 0 within an epoch.
struct Position {
  int64_t epoch = 0, step = 0, steps_per_epoch = 1;
};

// The learning rate is the base rate times factor = warm-up * decay.
// Decay is constant within an epoch (unless the cosine goes per step) and counts epochs from the start of training,
// except that the cosine begins where the warm-up ends.
struct Schedule {
  enum class Decay { constant, multi_step, step, cosine };

  Decay decay = Decay::constant;
  std::vector<int64_t> milestones;  // multi_step: gamma^(number of milestones <= epoch)
  int64_t step_epochs = 1;          // step: gamma^floor(epoch / step_epochs)
  double gamma = 0.1;
  // cosine: minimum + (1 - minimum) (1 + cos(pi (epoch - warmup_epochs) / (epochs - warmup_epochs))) / 2
  // per_step: the epoch counts in fractions, (epoch + step / steps_per_epoch), instead of whole
  int64_t epochs = 0;
  double minimum = 0;
  bool per_step = false;
  // Linear in the number of steps made, from warmup_start at the first step of training to 1 at the last step of the
  // warm-up.
  int64_t warmup_epochs = 0;
  double warmup_start = 0.01;

  double factor(const Position& position) const;
  void check() const;  // throws hp::Error that names the setting out of range

  // The three schedules of the protocol, stretched to `epochs` where that is not its own number: S1 steps at 60 and
  // 80 % of the epochs, S2 warms up for 5 % of them (at least one epoch, none if there is one only), S3 as it is.
  static Schedule s1(int64_t epochs = 100);
  static Schedule s2(int64_t epochs = 100);
  static Schedule s3();
};

std::string_view name_of(Schedule::Decay);
Schedule::Decay decay_kind(std::string_view name);  // "constant", "multi_step", "step", "cosine"

}  // namespace hp
