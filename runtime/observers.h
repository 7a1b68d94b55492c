// Observers: several observers as one.
#pragma once

#include <vector>

#include "runtime/observer.h"

namespace hp {

// Tells all of them, the last added first at the end of an activity. They must outlive it.
class Observers final : public Observer {
 public:
  void add(Observer& observer) { observers_.push_back(&observer); }
  bool empty() const { return observers_.empty(); }

  void begin(const Activity& activity) override {
    for (Observer* observer : observers_) observer->begin(activity);
  }
  void end() override {
    for (auto observer = observers_.rbegin(); observer != observers_.rend(); ++observer) (*observer)->end();
  }

 private:
  std::vector<Observer*> observers_;
};

}  // namespace hp
