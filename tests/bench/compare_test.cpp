#include "tests/bench/compare.h"

#include <doctest/doctest.h>

#include <random>

using namespace hp::bench;

namespace {

BenchReport report_with(const std::vector<double>& samples) {
  BenchReport report;
  report.machine = {"a processor", "AVX2", 2, 2, 0.0, "wall"};
  report.limits.flops = {2e11};
  report.readings = {{.kind = Reading::Kind::work, .name = "forward-1", .samples = samples}};
  return report;
}

std::vector<double> around(double centre, double spread, size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<double> samples;
  for (size_t i = 0; i < count; ++i) {
    samples.push_back(centre * (1 + spread * (static_cast<double>(random() % 10001) / 5000 - 1)));
  }
  return samples;
}

Verdict verdict(const std::vector<double>& before, const std::vector<double>& after) {
  return compare(report_with(before), report_with(after)).changes.at(0).verdict;
}

}  // namespace

TEST_CASE("the Mann-Whitney test gives the probabilities of the tables") {
  // Two samples of 6 without overlap: U = 0, z = (18 - 0.5) / sqrt(39) = 2.8022, two-sided 0.00508.
  CHECK(mann_whitney({1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}) == doctest::Approx(0.005075).epsilon(1e-3));
  CHECK(mann_whitney({7, 8, 9, 10, 11, 12}, {1, 2, 3, 4, 5, 6}) == doctest::Approx(0.005075).epsilon(1e-3));
  // Ties: ranks 1.5 1.5 3 | 4.5 4.5 6; U = 0, variance 9/12 (7 - 12/30) = 4.95, z = 4 / 2.2249.
  CHECK(mann_whitney({1, 1, 2}, {3, 3, 4}) == doctest::Approx(0.07221).epsilon(1e-3));
  CHECK(mann_whitney({1, 2, 3}, {1, 2, 3}) == 1);
  CHECK(mann_whitney({5, 5, 5}, {5, 5, 5}) == 1);
}

TEST_CASE("a change counts only beyond the noise") {
  const std::vector<double> base = around(1.0, 0.01, 9, 1);
  CHECK(verdict(base, around(1.0, 0.01, 9, 2)) == Verdict::same);
  CHECK(verdict(base, around(0.9, 0.01, 9, 3)) == Verdict::faster);
  CHECK(verdict(base, around(1.1, 0.01, 9, 4)) == Verdict::slower);
  // Significant but small: every sample is 1 % lower.
  std::vector<double> slightly = base;
  for (double& value : slightly) value *= 0.99;
  CHECK(verdict(around(1.0, 0.0001, 20, 5), around(0.99, 0.0001, 20, 6)) == Verdict::same);
  // Large but no more than the spread.
  CHECK(verdict(around(1.0, 0.5, 9, 7), around(1.05, 0.5, 9, 8)) == Verdict::same);
  // A lucky minimum is no change of the median.
  std::vector<double> lucky = base;
  lucky[0] *= 0.5;
  CHECK(verdict(base, lucky) == Verdict::same);
  CHECK(verdict({1, 1, 1, 1, 1}, {2, 2, 2, 2, 2}) == Verdict::unknown);
}

TEST_CASE("noise alone is rarely marked") {
  int marked = 0;
  for (unsigned seed = 0; seed < 500; ++seed) {
    marked += verdict(around(1, 0.1, 15, 1000 + 2 * seed), around(1, 0.1, 15, 1001 + 2 * seed)) != Verdict::same;
  }
  CHECK(marked <= 10);  // 1 % of 500, and twice as many for chance
}

TEST_CASE("a comparison names what it cannot compare") {
  BenchReport before = report_with({1, 1, 1, 1, 1, 1}), after = before;
  before.readings.push_back({.kind = Reading::Kind::kernel, .name = "gone", .samples = {1}});
  after.readings.push_back({.kind = Reading::Kind::kernel, .name = "new", .samples = {1}});
  after.machine.threads = 1;
  after.machine.load_average = 3;
  after.limits.flops = {1e11};
  const Comparison comparison = compare(before, after);
  CHECK(comparison.only_before == std::vector<std::string>{"gone"});
  CHECK(comparison.only_after == std::vector<std::string>{"new"});
  REQUIRE(comparison.warnings.size() == 3);
  CHECK(comparison.warnings[0] == "different threads: 2 and 1");
  CHECK(comparison.warnings[1] == "the machine's own peak moved from 200 to 100 GFLOP/s");
  CHECK(comparison.warnings[2] == "the load average was 3.0 before the second run");
  const std::string text = text_of(comparison);
  CHECK(text.find("warning: different threads") != std::string::npos);
  CHECK(text.find("0 faster, 0 slower, 1 the same, 0 unknown") != std::string::npos);
}
