#include "tools/trace/recorder.h"

namespace hp {

namespace {

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

Recorder::Recorder(size_t most_events) : most_events_(most_events) {
  const std::scoped_lock lock(mutex_);
  this_thread();
}

Recorder::Thread& Recorder::this_thread() {
  const auto [found, is_new] = threads_.try_emplace(std::this_thread::get_id());
  if (is_new) found->second.index = trace_.threads++;
  return found->second;
}

int Recorder::label_of(const Activity& activity) {
  std::string name = activity.name();
  const auto found = labels_.find(name);
  if (found != labels_.end()) return found->second;
  const int label = static_cast<int>(trace_.labels.size());
  trace_.labels.push_back({name, activity.phase, std::string(activity.node)});
  trace_.own.emplace_back();
  trace_.others.emplace_back();
  labels_.emplace(std::move(name), label);
  return label;
}

void Recorder::begin(const Activity& activity) {
  const std::scoped_lock lock(mutex_);
  this_thread().open.push_back({label_of(activity), Clock::now(), activity.cost});
}

void Recorder::end() {
  const Clock::time_point now = Clock::now();
  const std::scoped_lock lock(mutex_);
  Thread& thread = this_thread();
  const Open open = thread.open.back();
  thread.open.pop_back();
  const double duration = seconds_between(open.start, now);
  if (!thread.open.empty()) thread.open.back().inner += duration;
  TraceTotal& total = (thread.index == 0 ? trace_.own : trace_.others)[static_cast<size_t>(open.label)];
  ++total.events;
  total.seconds += duration - open.inner;
  total.cost += open.cost;
  if (trace_.events.size() < most_events_) {
    trace_.events.push_back({open.label, thread.index, seconds_between(start_, open.start), duration, open.cost});
  } else {
    ++trace_.events_left_out;
  }
}

Trace Recorder::trace() const {
  const std::scoped_lock lock(mutex_);
  Trace trace = trace_;
  trace.seconds = seconds_between(start_, Clock::now());
  return trace;
}

}  // namespace hp
