// Recorder: an observer that writes down when everything ran, and adds it up.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "runtime/observer.h"

namespace hp {

// What events of one name have in common.
struct TraceLabel {
  std::string name, phase, node;  // "forward/conv1", "forward", "conv1"; no node: a pass or a stage
};

// Seconds since the recorder was made. `cost` is that of the activity.
struct TraceEvent {
  int label = 0, thread = 0;  // thread 0 is the one that made the recorder
  double start = 0, duration = 0;
  Cost cost;
};

// All events of one name on one kind of thread.
struct TraceTotal {
  int64_t events = 0;
  double seconds = 0;  // without what was reported to run within: the seconds of one thread add up to its time
  Cost cost;
};

struct Trace {
  std::vector<TraceLabel> labels;
  std::vector<TraceEvent> events;       // in the order in which they ended
  int64_t events_left_out = 0;          // beyond the limit; the totals count them
  std::vector<TraceTotal> own, others;  // by label: on thread 0, and on all others together
  int threads = 0;
  double seconds = 0;  // from the making of the recorder to that of this trace
};

class Recorder final : public Observer {
 public:
  explicit Recorder(size_t most_events = 1'000'000);

  void begin(const Activity& activity) override;
  void end() override;

  // What has ended so far.
  Trace trace() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Open {
    int label = 0;
    Clock::time_point start;
    Cost cost;
    double inner = 0;  // seconds of what was reported within
  };
  struct Thread {
    int index = 0;
    std::vector<Open> open;
  };
  Thread& this_thread();  // the caller holds the mutex
  int label_of(const Activity& activity);

  const size_t most_events_;
  const Clock::time_point start_ = Clock::now();
  mutable std::mutex mutex_;  // guards everything below
  Trace trace_;
  std::unordered_map<std::string, int> labels_;
  std::map<std::thread::id, Thread> threads_;
};

}  // namespace hp
