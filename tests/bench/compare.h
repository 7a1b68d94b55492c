// Comparing two reports of hp-bench: which readings changed by more than noise.
#pragma once

#include <string>
#include <vector>

#include "tests/bench/report.h"

namespace hp::bench {

// A reading counts as faster or slower if minimum and median both moved that way by at least `smallest_change`, and a
// two-sided Mann-Whitney test of the samples rejects "no difference" at `level`. With fewer than `fewest_samples` on a
// side nothing can be said.
struct Criterion {
  double smallest_change = 0.02, level = 0.01;
  size_t fewest_samples = 6;
};

enum class Verdict { same, faster, slower, unknown };

struct Change {
  Reading::Kind kind;
  std::string name;
  double before = 0, after = 0;                // minima
  double minimum_ratio = 0, median_ratio = 0;  // after / before
  double probability = 1;                      // of so different samples by chance
  Verdict verdict = Verdict::same;
};

struct Comparison {
  std::vector<Change> changes;  // readings of both, in the order of the first
  std::vector<std::string> only_before, only_after;
  std::vector<std::string> warnings;  // what makes the two hard to compare
};

// Two-sided p-value of the Mann-Whitney U test (normal approximation with tie and continuity correction).
double mann_whitney(const std::vector<double>& a, const std::vector<double>& b);

Comparison compare(const BenchReport& before, const BenchReport& after, const Criterion& criterion = {});
std::string text_of(const Comparison&, const Criterion& criterion = {});

}  // namespace hp::bench
