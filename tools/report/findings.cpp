#include "tools/report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace hp {
namespace {

constexpr std::string_view in_cell =
    "Share of a map's positive evidence that lies in the cell of its class. Higher is better.";
constexpr std::string_view in_boxes =
    "Share of a map's positive evidence that lies inside the objects of its class, their masks or boxes. Higher is "
    "better.";

constexpr std::array<MetricWords, 6> known_metrics = {{
    {"gridpg", "GridPG", "GridPG", in_cell, "localises better", "localises worse", true},
    {"grid_pointing", "GridPG", "GridPG", in_cell, "localises better", "localises worse", true},
    {"epg", "EPG", "EPG", in_boxes, "localises better", "localises worse", true},
    {"energy_pointing", "EPG", "EPG", in_boxes, "localises better", "localises worse", true},
    {"entropy", "Entropy", "entropy", "Shannon entropy of a map's evidence. Lower means more concentrated.",
     "gives less concentrated maps", "gives more concentrated maps"},
    {"gini", "Gini index", "the Gini index", "Gini index of a map's evidence. Higher means more concentrated.",
     "gives more concentrated maps", "gives less concentrated maps"},
}};

bool has_own_name(std::string_view evaluation, std::string_view metric) {
  return evaluation != metric && evaluation != metric_words(metric).title;
}

// "On GridPG", "On on-grids (entropy)".
std::string where(const Difference& d) {
  if (has_own_name(d.evaluation, d.metric)) return "On " + evaluation_title(d.evaluation, d.metric);
  return fmt::format("On {}", metric_words(d.metric).said);
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

std::string joined(const std::vector<std::string>& parts) {
  if (parts.empty()) return "";
  std::string text = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) text += (i + 1 == parts.size() ? " and " : ", ") + parts[i];
  return text;
}

std::string with_interval(const Difference& d) {
  return fmt::format("{} ({} {})", d.method, signed_text(d.summary.mean), interval_text(*d.summary.interval));
}

// The differences of one pair of probes under one evaluation, by what they say.
struct Comparison {
  const Difference* any = nullptr;
  std::vector<std::string> above, below, open;

  bool holds(const Difference& d) const {
    return any->evaluation == d.evaluation && any->metric == d.metric && any->probe == d.probe &&
           any->against == d.against;
  }
  void add(const Difference& d) {
    if (!d.significant()) {
      open.push_back(d.method);
    } else {
      (d.summary.interval->low > 0 ? above : below).push_back(with_interval(d));
    }
  }
  std::string text() const;
};

// What the localisation metrics say of one pair of probes, method by method.
struct Localisation {
  std::string_view probe, against;
  struct Votes {
    std::string method;
    int above = 0, below = 0;
  };
  std::vector<Votes> votes;

  void add(const Difference& d) {
    auto found = std::find_if(votes.begin(), votes.end(), [&](const Votes& v) { return v.method == d.method; });
    if (found == votes.end()) found = votes.insert(found, {d.method, 0, 0});
    if (d.significant()) ++(d.summary.interval->low > 0 ? found->above : found->below);
  }
  std::string text() const;
};

std::string Localisation::text() const {
  std::vector<std::string> better, worse, mixed, open;
  for (const Votes& v : votes) {
    std::vector<std::string>& fitting = v.above > 0 ? (v.below > 0 ? mixed : better) : (v.below > 0 ? worse : open);
    fitting.push_back(v.method);
  }
  if (better.empty() && worse.empty() && mixed.empty())
    return fmt::format("{} and {} localise alike: no significant difference with {}.", probe, against, joined(open));
  std::vector<std::string> parts;
  if (!better.empty()) parts.push_back(fmt::format("localises better than {} with {}", against, joined(better)));
  if (!worse.empty()) parts.push_back(fmt::format("localises worse than {} with {}", against, joined(worse)));
  if (!mixed.empty())
    parts.push_back(
        fmt::format("is better than {} by one measure and worse by another with {}", against, joined(mixed)));
  std::string text = fmt::format("{} {}", probe, fmt::join(parts, "; it "));
  if (!open.empty()) text += fmt::format("; no significant difference with {}", joined(open));
  return text + ".";
}

std::string Comparison::text() const {
  const MetricWords words = metric_words(any->metric);
  std::string text = where(*any) + ", ";
  if (above.empty() && below.empty()) {
    return text + fmt::format("{} and {} do not differ significantly with {}.", any->probe, any->against, joined(open));
  }
  text += any->probe;
  if (!above.empty()) text += fmt::format(" {} than {} with {}", words.above, any->against, joined(above));
  if (!above.empty() && !below.empty()) text += ", but";
  if (!below.empty()) text += fmt::format(" {} than {} with {}", words.below, any->against, joined(below));
  if (!open.empty()) text += fmt::format("; no significant difference with {}", joined(open));
  return text + ".";
}

}  // namespace

MetricWords metric_words(std::string_view metric) {
  for (const MetricWords& words : known_metrics) {
    if (words.name == metric) return words;
  }
  return {.name = metric,
          .title = metric,
          .said = metric,
          .meaning = "",
          .above = "scores higher",
          .below = "scores lower"};
}

std::string evaluation_title(std::string_view evaluation, std::string_view metric) {
  const MetricWords words = metric_words(metric);
  if (!has_own_name(evaluation, metric)) return std::string(words.title);
  return fmt::format("{} ({})", evaluation, words.said);
}

std::vector<Finding> findings(const Results& results) {
  std::vector<Comparison> comparisons;
  for (const Difference& d : results.differences) {
    auto found = std::find_if(comparisons.begin(), comparisons.end(), [&](const Comparison& c) { return c.holds(d); });
    if (found == comparisons.end())
      found = comparisons.insert(found, Comparison{.any = &d, .above = {}, .below = {}, .open = {}});
    found->add(d);
  }
  std::vector<Finding> all;
  for (const Comparison& c : comparisons) {
    all.push_back({c.any->evaluation, c.text(), !c.above.empty() || !c.below.empty()});
  }
  return all;
}

std::vector<std::string> conclusions(const Results& results) {
  std::vector<Localisation> pairs;
  for (const Difference& d : results.differences) {
    if (!metric_words(d.metric).localises) continue;
    auto found = std::find_if(pairs.begin(), pairs.end(),
                              [&](const Localisation& p) { return p.probe == d.probe && p.against == d.against; });
    if (found == pairs.end()) found = pairs.insert(found, Localisation{d.probe, d.against, {}});
    found->add(d);
  }
  std::vector<std::string> sentences;
  for (const Localisation& pair : pairs) sentences.push_back(pair.text());
  return sentences;
}

std::string verdict(const Results& results) {
  const size_t total = results.differences.size();
  if (total == 0) return "There are no pairs of probes to compare.";
  const auto significant = static_cast<size_t>(std::count_if(results.differences.begin(), results.differences.end(),
                                                             [](const Difference& d) { return d.significant(); }));
  const std::string confidence = confidence_text(results);
  if (significant == 0) {
    return fmt::format("No difference between probes is significant: no {} interval of a paired difference excludes 0.",
                       confidence);
  }
  return fmt::format("{} of {} paired differences between probes {} significant: the {} interval excludes 0.",
                     significant, total, significant == 1 ? "is" : "are", confidence);
}

std::string confidence_text(const Results& results) {
  const nlohmann::json::json_pointer path("/statistics/confidence");
  double confidence = 0.95;
  if (results.experiment.is_object() && results.experiment.contains(path) && results.experiment[path].is_number()) {
    confidence = results.experiment[path].get<double>();
  }
  return fmt::format("{:.4g} %", confidence * 100);
}

std::vector<EvaluationNames> evaluations_of(const Results& results) {
  std::vector<EvaluationNames> all;
  for (const Row& row : results.rows) {
    auto found = std::find_if(all.begin(), all.end(), [&](const EvaluationNames& e) {
      return e.evaluation == row.evaluation && e.metric == row.metric;
    });
    if (found == all.end()) found = all.insert(found, {row.evaluation, row.metric, {}, {}});
    add_once(found->methods, row.method);
    add_once(found->probes, row.probe);
  }
  return all;
}

const Row* find_row(const Results& results, const EvaluationNames& evaluation, std::string_view method,
                    std::string_view probe) {
  const auto found = std::find_if(results.rows.begin(), results.rows.end(), [&](const Row& row) {
    return row.evaluation == evaluation.evaluation && row.metric == evaluation.metric && row.method == method &&
           row.probe == probe;
  });
  return found == results.rows.end() ? nullptr : &*found;
}

std::string value_text(double value) {
  if (!std::isfinite(value)) return "n/a";
  const double size = std::abs(value);
  if (size >= 1e6 || (size < 5e-4 && size > 0)) return fmt::format("{:.1e}", value);
  return fmt::format("{:.3f}", size == 0 ? 0.0 : value);
}

std::string signed_text(double value) {
  const std::string text = value_text(value);
  return value > 0 && std::isfinite(value) ? "+" + text : text;
}

std::string interval_text(const Interval& value) {
  return fmt::format("[{}, {}]", value_text(value.low), value_text(value.high));
}

std::string percent_text(double share) { return std::isfinite(share) ? fmt::format("{:.2f} %", share * 100) : "n/a"; }

std::string rate_text(double rate) { return std::isfinite(rate) ? fmt::format("{:g}", rate) : "n/a"; }

std::optional<double> half_width(const Summary& summary) {
  if (!summary.interval) return std::nullopt;
  const double half = (summary.interval->high - summary.interval->low) / 2;
  return std::isfinite(half) ? std::optional(half) : std::nullopt;
}

}  // namespace hp
