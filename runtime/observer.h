// Observer: somebody who is told what runs when. Executor, Propagator, trainer and data loader report to it;
// tools/trace writes it down, and a device's own profiler may mark its ranges by the same names.
#pragma once

#include <string>
#include <string_view>

#include "runtime/cost.h"

namespace hp {

// One piece of work. With a node: a phase of that node, which encloses nothing ("forward/layer3.2.conv2",
// "prepare/gamma/layer3.2.conv2", "lrp/gamma/layer3.2.conv2", "vjp/layer3.2.conv2"). Without: a whole pass or a stage,
// which may enclose others ("forward", "walk", "data/decode", "train/update").
struct Activity {
  std::string phase;
  std::string_view node{};  // valid while the observer is told of it
  Cost cost{};

  std::string name() const { return node.empty() ? phase : phase + '/' + std::string(node); }
};

// begin and end pair up on each thread, the last begun first; threads call at the same time.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin(const Activity&) = 0;
  virtual void end() = 0;
};

// Tells an observer of the work that is done while this object lives. `describe`, which returns the Activity, is called
// only if there is an observer.
class Observed {
 public:
  template <class Describe>
  Observed(Observer* observer, const Describe& describe) : observer_(observer) {
    if (observer_) observer_->begin(describe());
  }
  Observed(Observer* observer, const char* phase) : Observed(observer, [=] { return Activity{phase}; }) {}
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;
  ~Observed() {
    if (observer_) observer_->end();
  }

 private:
  Observer* observer_;
};

}  // namespace hp
