#include "tests/bench/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace hp::bench {

namespace {

Change change_of(const Reading& before, const Reading& after, const Criterion& criterion) {
  Change change{before.kind, before.name, minimum(before.samples), minimum(after.samples)};
  change.minimum_ratio = change.after / change.before;
  change.median_ratio = median(after.samples) / median(before.samples);
  if (std::min(before.samples.size(), after.samples.size()) < criterion.fewest_samples) {
    change.verdict = Verdict::unknown;
    return change;
  }
  change.probability = mann_whitney(before.samples, after.samples);
  if (change.probability > criterion.level) return change;
  const auto [least, most] = std::minmax(change.minimum_ratio, change.median_ratio);
  if (most <= 1 - criterion.smallest_change) change.verdict = Verdict::faster;
  if (least >= 1 + criterion.smallest_change) change.verdict = Verdict::slower;
  return change;
}

void warn(std::vector<std::string>& warnings, const std::string& what, const std::string& before,
          const std::string& after) {
  if (before != after) warnings.push_back(fmt::format("different {}: {} and {}", what, before, after));
}

std::vector<std::string> warnings_of(const BenchReport& before, const BenchReport& after) {
  std::vector<std::string> warnings;
  warn(warnings, "processors", before.machine.cpu, after.machine.cpu);
  warn(warnings, "instruction sets", before.machine.instruction_set, after.machine.instruction_set);
  warn(warnings, "threads", std::to_string(before.machine.threads), std::to_string(after.machine.threads));
  warn(warnings, "clocks", before.machine.clock, after.machine.clock);
  const double ratio = after.limits.peak() / before.limits.peak();
  if (std::fabs(ratio - 1) > 0.05) {
    warnings.push_back(fmt::format("the machine's own peak moved from {:.0f} to {:.0f} GFLOP/s",
                                   before.limits.peak() * 1e-9, after.limits.peak() * 1e-9));
  }
  for (const BenchReport* report : {&before, &after}) {
    if (report->machine.load_average > 0.2 * report->machine.cores) {
      warnings.push_back(fmt::format("the load average was {:.1f} before the {} run", report->machine.load_average,
                                     report == &before ? "first" : "second"));
    }
  }
  return warnings;
}

std::string amount(Reading::Kind kind, double value) {
  return kind == Reading::Kind::memory ? fmt::format("{:.0f} MiB", value / (1 << 20))
                                       : fmt::format("{:.3f} ms", value * 1e3);
}

}  // namespace

double mann_whitney(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<std::pair<double, bool>> all;
  for (const double value : a) all.emplace_back(value, true);
  for (const double value : b) all.emplace_back(value, false);
  std::ranges::sort(all);
  const auto total = static_cast<double>(all.size()), na = static_cast<double>(a.size()),
             nb = static_cast<double>(b.size());
  double ranks = 0, ties = 0;  // of `a`; sum of t^3 - t over groups of t equal values
  for (size_t first = 0, end = 0; first < all.size(); first = end) {
    while (end < all.size() && all[end].first == all[first].first) ++end;
    const auto group = static_cast<double>(end - first);
    ties += group * (group * group - 1);
    for (size_t i = first; i < end; ++i) ranks += all[i].second ? static_cast<double>(first + end + 1) / 2 : 0;
  }
  const double u = ranks - na * (na + 1) / 2;
  const double variance = na * nb / 12 * (total + 1 - ties / (total * (total - 1)));
  if (variance <= 0) return 1;
  const double z = std::max(0.0, std::fabs(u - na * nb / 2) - 0.5) / std::sqrt(variance);
  return std::erfc(z / std::sqrt(2.0));
}

Comparison compare(const BenchReport& before, const BenchReport& after, const Criterion& criterion) {
  Comparison comparison;
  comparison.warnings = warnings_of(before, after);
  for (const Reading& reading : before.readings) {
    const Reading* other = after.find(reading.kind, reading.name);
    if (other == nullptr) {
      comparison.only_before.push_back(reading.name);
    } else {
      comparison.changes.push_back(change_of(reading, *other, criterion));
    }
  }
  for (const Reading& reading : after.readings) {
    if (before.find(reading.kind, reading.name) == nullptr) comparison.only_after.push_back(reading.name);
  }
  return comparison;
}

std::string text_of(const Comparison& comparison, const Criterion& criterion) {
  std::string text;
  for (const std::string& warning : comparison.warnings) text += fmt::format("warning: {}\n", warning);
  text += fmt::format("{:<68}{:>13}{:>13}{:>7}{:>7}\n", "minimum", "before", "after", "ratio", "median");
  int counts[4] = {};
  constexpr const char* marks[] = {"", "  faster", "  SLOWER", "  ? too few samples"};
  for (const Change& change : comparison.changes) {
    ++counts[static_cast<size_t>(change.verdict)];
    text += fmt::format("{:<68}{:>13}{:>13}{:7.3f}{:7.3f}{}\n", change.name, amount(change.kind, change.before),
                        amount(change.kind, change.after), change.minimum_ratio, change.median_ratio,
                        marks[static_cast<size_t>(change.verdict)]);
  }
  for (const std::string& name : comparison.only_before) text += fmt::format("only before: {}\n", name);
  for (const std::string& name : comparison.only_after) text += fmt::format("only after: {}\n", name);
  text += fmt::format(
      "{} faster, {} slower, {} the same, {} unknown; a change counts if minimum and median moved by {:.0f} % or more "
      "the same way and a Mann-Whitney test gives p <= {}\n",
      counts[1], counts[2], counts[0], counts[3], 100 * criterion.smallest_change, criterion.level);
  return text;
}

}  // namespace hp::bench
