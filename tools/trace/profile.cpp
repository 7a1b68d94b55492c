#include "tools/trace/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/text/table.h"
#include "tools/text/units.h"

namespace hp {

namespace {

constexpr size_t most_nodes = 10;
constexpr size_t most_phases = 24;

std::string head_of(const std::string& phase) { return phase.substr(0, phase.find('/')); }

bool is_pass(const TraceLabel& label) {
  return label.phase == "forward" || label.phase == "prepare" || label.phase == "walk";
}

struct NodeTimes {
  std::string node;
  double forward = 0, prepare = 0, back = 0;
  Cost cost;
  double seconds() const { return forward + prepare + back; }
};

std::string share_text(double seconds, double whole) {
  return whole > 0 ? fmt::format("{:.1f} %", 100 * seconds / whole) : "-";
}

std::string rate_text(double amount, double seconds) {
  return amount > 0 && seconds > 0 ? fmt::format("{:.1f}", amount / seconds * 1e-9) : "-";
}

std::string time_text(double seconds) { return seconds > 0 ? seconds_text(seconds) : "-"; }

std::vector<NodeTimes> node_times(const Trace& trace) {
  std::map<std::string, NodeTimes> by_node;
  for (size_t label = 0; label < trace.labels.size(); ++label) {
    const auto& [name, phase, node] = trace.labels[label];
    if (node.empty()) continue;
    NodeTimes& times = by_node[node];
    times.node = node;
    const std::string head = head_of(phase);
    double& seconds = head == "forward" ? times.forward : head == "prepare" ? times.prepare : times.back;
    seconds += trace.own[label].seconds;
    times.cost += trace.own[label].cost;
  }
  std::vector<NodeTimes> nodes;
  for (auto& [name, times] : by_node) nodes.push_back(std::move(times));
  std::stable_sort(nodes.begin(), nodes.end(),
                   [](const NodeTimes& a, const NodeTimes& b) { return a.seconds() > b.seconds(); });
  return nodes;
}

std::string node_table(const Trace& trace, double whole) {
  const std::vector<NodeTimes> nodes = node_times(trace);
  TextTable table({"node", "forward", "prepare", "back", "all", "of run", "GFLOP/s", "GB/s"});
  for (size_t i = 0; i < std::min(most_nodes, nodes.size()); ++i) {
    const NodeTimes& n = nodes[i];
    table.add({plain(n.node, 30), time_text(n.forward), time_text(n.prepare), time_text(n.back), time_text(n.seconds()),
               share_text(n.seconds(), whole), rate_text(n.cost.flops, n.seconds()),
               rate_text(n.cost.bytes, n.seconds())});
  }
  return table.text();
}

struct PhaseTimes {
  std::string phase;
  int64_t events = 0;
  double seconds = 0;
  Cost cost;
};

// The time of passes and stages by themselves is what lies between the nodes.
std::vector<PhaseTimes> phase_times(const Trace& trace, const std::vector<TraceTotal>& totals) {
  std::map<std::string, PhaseTimes> by_phase;
  for (size_t label = 0; label < trace.labels.size(); ++label) {
    if (totals[label].events == 0) continue;
    const auto& [name, phase, node] = trace.labels[label];
    const std::string shown = is_pass(trace.labels[label]) && node.empty() ? phase + " (between nodes)" : phase;
    PhaseTimes& times = by_phase[shown];
    times.phase = shown;
    times.events += totals[label].events;
    times.seconds += totals[label].seconds;
    times.cost += totals[label].cost;
  }
  std::vector<PhaseTimes> phases;
  for (auto& [name, times] : by_phase) phases.push_back(std::move(times));
  std::stable_sort(phases.begin(), phases.end(),
                   [](const PhaseTimes& a, const PhaseTimes& b) { return a.seconds > b.seconds; });
  return phases;
}

std::string phase_table(const std::vector<PhaseTimes>& phases, double whole) {
  TextTable table({"phase", "times", "time", "of run", "GFLOP/s", "GB/s"});
  for (size_t i = 0; i < std::min(most_phases, phases.size()); ++i) {
    const PhaseTimes& p = phases[i];
    table.add({plain(p.phase, 40), std::to_string(p.events), time_text(p.seconds), share_text(p.seconds, whole),
               rate_text(p.cost.flops, p.seconds), rate_text(p.cost.bytes, p.seconds)});
  }
  return table.text();
}

}  // namespace

TimeShares time_shares(const Trace& trace) {
  TimeShares shares;
  shares.whole = trace.seconds;
  for (size_t label = 0; label < trace.labels.size(); ++label) {
    const bool node = !trace.labels[label].node.empty();
    const double seconds = trace.own[label].seconds;
    shares.observed += seconds;
    if (node) shares.nodes += seconds;
    if (node || is_pass(trace.labels[label])) shares.passes += seconds;
  }
  return shares;
}

std::string profile_text(const Trace& trace) {
  const TimeShares shares = time_shares(trace);
  std::string text = fmt::format("The most expensive nodes ({} of {} is spent in nodes)\n", seconds_text(shares.nodes),
                                 seconds_text(shares.whole));
  text += node_table(trace, shares.whole);
  text += "\nWhere the time went\n" + phase_table(phase_times(trace, trace.own), shares.whole);
  text += fmt::format("  not reported: {}\n", share_text(shares.whole - shares.observed, shares.whole));
  const std::vector<PhaseTimes> others = phase_times(trace, trace.others);
  if (!others.empty()) text += "\nBeside it, in worker threads\n" + phase_table(others, shares.whole);
  return text;
}

}  // namespace hp
