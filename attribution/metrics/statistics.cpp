#include "attribution/metrics/statistics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "runtime/error.h"
#include "runtime/random.h"

namespace hp {

namespace {

struct Group {
  double sum = 0;
  int64_t count = 0;
};

// In the order in which the samples first occur.
std::vector<Group> group_by_sample(std::span<const Record> records) {
  std::map<std::string_view, size_t> position;
  std::vector<Group> groups;
  for (const Record& record : records) {
    if (!std::isfinite(record.value)) continue;
    const auto [found, is_new] = position.emplace(record.sample, groups.size());
    if (is_new) groups.emplace_back();
    Group& group = groups[found->second];
    group.sum += record.value;
    ++group.count;
  }
  return groups;
}

double quantile(const std::vector<double>& ascending, double fraction) {
  const double position = fraction * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, ascending.size() - 1);
  return ascending[below] + (position - static_cast<double>(below)) * (ascending[above] - ascending[below]);
}

Interval bootstrap_interval(const std::vector<Group>& groups, const Bootstrap& bootstrap) {
  const Random random(bootstrap.seed, "bootstrap");
  const auto count = static_cast<int64_t>(groups.size());
  std::vector<double> means;
  means.reserve(static_cast<size_t>(bootstrap.resamples));
  for (int64_t resample = 0; resample < bootstrap.resamples; ++resample) {
    Group all;
    for (int64_t draw = 0; draw < count; ++draw) {
      const Group& group =
          groups[static_cast<size_t>(random.below(static_cast<uint64_t>(resample * count + draw), count))];
      all.sum += group.sum;
      all.count += group.count;
    }
    means.push_back(all.sum / static_cast<double>(all.count));
  }
  std::sort(means.begin(), means.end());
  const double tail = (1 - bootstrap.confidence) / 2;
  return {quantile(means, tail), quantile(means, 1 - tail)};
}

using Key = std::tuple<std::string_view, int, int>;

Key key_of(const Record& record) { return {record.sample, record.target, record.cell}; }

}  // namespace

Summary summarise(std::span<const Record> records, const Bootstrap& bootstrap) {
  require(bootstrap.resamples > 0 && bootstrap.confidence > 0 && bootstrap.confidence < 1,
          "[statistics] bootstrap out of range; got {} resamples, confidence {}; expected at least 1, and between 0 "
          "and 1",
          bootstrap.resamples, bootstrap.confidence);
  const std::vector<Group> groups = group_by_sample(records);
  Summary summary;
  summary.samples = static_cast<int64_t>(groups.size());
  Group all;
  for (const Group& group : groups) all.sum += group.sum, all.count += group.count;
  summary.count = all.count;
  summary.dropped = static_cast<int64_t>(records.size()) - all.count;
  if (all.count == 0) return summary;
  summary.mean = all.sum / static_cast<double>(all.count);
  double squares = 0;
  for (const Record& record : records) {
    if (std::isfinite(record.value)) squares += (record.value - summary.mean) * (record.value - summary.mean);
  }
  summary.deviation = std::sqrt(squares / static_cast<double>(all.count));
  if (groups.size() > 1) summary.interval = bootstrap_interval(groups, bootstrap);
  return summary;
}

std::vector<Record> paired_differences(std::span<const Record> a, std::span<const Record> b) {
  std::map<Key, double> partner;
  for (const Record& record : b) {
    require(partner.emplace(key_of(record), record.value).second,
            "[statistics] two records of sample '{}', target {}, cell {}; expected one", record.sample, record.target,
            record.cell);
  }
  std::map<Key, bool> seen;
  std::vector<Record> differences;
  for (const Record& record : a) {
    require(seen.emplace(key_of(record), true).second,
            "[statistics] two records of sample '{}', target {}, cell {}; expected one", record.sample, record.target,
            record.cell);
    const auto found = partner.find(key_of(record));
    if (found == partner.end()) continue;
    differences.push_back(record);
    differences.back().value -= found->second;
  }
  require(!differences.empty(), "[statistics] no record has a partner; got {} and {} records; expected equal samples",
          a.size(), b.size());
  return differences;
}

}  // namespace hp
