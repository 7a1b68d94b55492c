#include "tests/bench/report.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "tests/files.h"

using namespace hp::bench;

namespace {

BenchReport example() {
  BenchReport report;
  report.machine = {"a processor", "AVX-512", 4, 2, 0.25, "processor"};
  report.limits.flops = {1e11, 3e11, 2e11};
  report.limits.copies = {{1e4, 8e10}, {1e6, 4e10}, {1e8, 1e10}};
  report.readings = {
      {.kind = Reading::Kind::work, .name = "forward-16", .samples = {0.4, 0.3, 0.32}, .flops = 6e10, .images = 16},
      {.kind = Reading::Kind::work,
       .name = "intgrad-50",
       .samples = {2.0, 1.5, 9.0},
       .unit = "forward-16",
       .units = 1.0 / 16},
      {.kind = Reading::Kind::memory, .name = "memory-grid-lrp", .samples = {3e9}},
      {.kind = Reading::Kind::kernel, .name = "rows: softmax", .samples = {1e-5}, .bytes = 4e6}};
  return report;
}

}  // namespace

TEST_CASE("a report survives its file") {
  const hp::test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "report.json";
  const BenchReport report = example();
  save(path, report);
  CHECK(to_json(load_report(path)) == to_json(report));
  const nlohmann::json json = to_json(report);
  CHECK(json["readings"][0]["minimum"] == 0.3);
  CHECK(json["readings"][0]["median"] == 0.32);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);  // no temporary is left
}

TEST_CASE("files that are no reports are refused by name") {
  const hp::test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "other.json";
  for (const char* text : {"", "[1, 2", "{}", R"({"program": "hp-bench", "format": 2})"}) {
    std::ofstream(path, std::ios::trunc) << text;
    CHECK_THROWS_WITH_AS(load_report(path), doctest::Contains("other.json is no report of hp-bench"), hp::Error);
  }
  nlohmann::json json = to_json(example());
  json["readings"][1]["samples"] = nlohmann::json::array();
  CHECK_THROWS_WITH_AS(report_from_json(json, "x"), doctest::Contains("'intgrad-50' has no samples"), hp::Error);
  json["readings"][1]["kind"] = "play";
  CHECK_THROWS_WITH_AS(report_from_json(json, "x"), doctest::Contains("unknown kind \"play\""), hp::Error);
}

TEST_CASE("limits: the best peak, and the copy rate of as many bytes") {
  const Limits limits = example().limits;
  CHECK(limits.peak() == 3e11);
  CHECK(limits.copy_rate(1) == 8e10);
  CHECK(limits.copy_rate(2e6) == 4e10);
  CHECK(limits.copy_rate(1e12) == 1e10);
  CHECK(limits.shortest_seconds(6e11, 0) == doctest::Approx(2));
  CHECK(limits.shortest_seconds(3e11, 5e10) == doctest::Approx(5));  // moving the bytes takes longer
  CHECK(Limits{}.shortest_seconds(1, 1) == 0);
}

TEST_CASE("works are stated in units of others, of minima or medians") {
  const BenchReport report = example();
  CHECK(in_units(report, report.readings[1], false) == doctest::Approx(1.5 / (0.3 / 16)));
  CHECK(in_units(report, report.readings[1], true) == doctest::Approx(2.0 / (0.32 / 16)));
  CHECK(in_units(report, report.readings[0], false) == 0);
  CHECK(median({4, 1, 3, 2}) == 2.5);
}
