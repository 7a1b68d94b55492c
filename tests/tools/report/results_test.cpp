#include "tools/experiment/results.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "runtime/error.h"
#include "tests/files.h"
#include "tests/tools/report/sample_results.h"

using namespace hp;
using nlohmann::json;
using test::read_file;
using test::TemporaryFolder;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

void check_summary(const json& written, const Summary& summary) {
  CHECK(written["mean"] == summary.mean);
  CHECK(written["deviation"] == summary.deviation);
  REQUIRE(written["interval"].is_array() == summary.interval.has_value());
  if (summary.interval) {
    CHECK(written["interval"][0] == summary.interval->low);
    CHECK(written["interval"][1] == summary.interval->high);
  }
  CHECK(written["records"] == summary.count);
  CHECK(written["samples"] == summary.samples);
  CHECK(written["dropped"] == summary.dropped);
}

json written_json(const TemporaryFolder& folder, const Results& results) {
  write_results(folder.path(), results);
  return json::parse(read_file(folder / "results.json"));
}

// RFC 4180.
std::vector<std::vector<std::string>> parsed_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, {""});
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string& field = rows.back().back();
    if (quoted && text[i] == '"' && text[i + 1] == '"') {
      field += text[i++];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == ',') {
      rows.back().emplace_back();
    } else if (!quoted && text.compare(i, 2, "\r\n") == 0) {
      rows.push_back({""});
      ++i;
    } else {
      field += text[i];
    }
  }
  rows.pop_back();
  return rows;
}

}  // namespace

TEST_CASE("results.json holds every number exactly") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  test::add_gallery(r, folder.path(), 1);
  r.rows[0].summary.mean = 1.0 / 3;
  r.rows[1].summary.mean = 5e-324;
  r.rows[2].summary.interval.reset();
  r.probes[2].mean_average_precision = 0.1 + 0.2;
  r.probes[2].average_precision = {0.1, 0.7};
  const json written = written_json(folder, r);
  CHECK(written["name"] == r.name);
  CHECK(written["complete"] == true);
  CHECK(written["experiment"] == r.experiment);
  CHECK(written["classes"] == r.classes);
  CHECK(written["notes"] == r.notes);
  CHECK(written["facts"].size() == r.facts.size());
  for (const auto& [name, value] : r.facts) CHECK(written["facts"][name] == value);

  REQUIRE(written["probes"].size() == r.probes.size());
  for (size_t i = 0; i < r.probes.size(); ++i) {
    const json& p = written["probes"][i];
    CHECK(p["name"] == r.probes[i].name);
    CHECK(p["head"] == r.probes[i].head);
    CHECK(p["loss"] == r.probes[i].loss);
    CHECK(p["learning_rate"] == r.probes[i].learning_rate);
    CHECK(p["top1"] == *r.probes[i].top1);
    CHECK(p["top5"] == *r.probes[i].top5);
    CHECK(p["mean_average_precision"].is_null() == !r.probes[i].mean_average_precision);
    CHECK(p["average_precision"] == r.probes[i].average_precision);
    CHECK(p["training_loss"] == r.probes[i].training_loss);
    CHECK(p["training_top1"] == r.probes[i].training_top1);
  }
  CHECK(written["probes"][2]["mean_average_precision"] == 0.1 + 0.2);

  REQUIRE(written["rows"].size() == r.rows.size());
  for (size_t i = 0; i < r.rows.size(); ++i) {
    const json& row = written["rows"][i];
    CHECK(row["evaluation"] == r.rows[i].evaluation);
    CHECK(row["metric"] == r.rows[i].metric);
    CHECK(row["method"] == r.rows[i].method);
    CHECK(row["probe"] == r.rows[i].probe);
    check_summary(row, r.rows[i].summary);
  }
  REQUIRE(written["differences"].size() == r.differences.size());
  for (size_t i = 0; i < r.differences.size(); ++i) {
    const json& d = written["differences"][i];
    CHECK(d["method"] == r.differences[i].method);
    CHECK(d["probe"] == r.differences[i].probe);
    CHECK(d["against"] == r.differences[i].against);
    CHECK(d["significant"] == r.differences[i].significant());
    check_summary(d, r.differences[i].summary);
  }
  REQUIRE(written["gallery"].size() == 1);
  CHECK(written["gallery"][0]["target"] == r.gallery[0].target);
  CHECK(written["gallery"][0]["maps"][11]["picture"] == r.gallery[0].maps[11].picture.generic_string());
}

TEST_CASE("numbers that are not finite are null") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  r.rows[0].summary = {not_a_number, INFINITY, Interval{-INFINITY, 1}, 0, 0, 9};
  r.probes[0].training_loss = {not_a_number, 1};
  const json written = written_json(folder, r);
  CHECK(written["rows"][0]["mean"].is_null());
  CHECK(written["rows"][0]["deviation"].is_null());
  CHECK(written["rows"][0]["interval"] == json{nullptr, 1.0});
  CHECK(written["probes"][0]["training_loss"] == json{nullptr, 1.0});
  const auto rows = parsed_csv(read_file(folder / "results.csv"));
  CHECK(rows[1][4] == "null");
  CHECK(rows[1][6] == "null");
  CHECK(rows[1][7] == "1");
  CHECK(rows[1][10] == "9");
}

TEST_CASE("results.csv has a row per probe, method and metric") {
  const TemporaryFolder folder;
  Results r = test::sample_results();
  r.rows[3].summary.mean = 0.1 + 0.2;
  r.rows[3].method = "a, \"quoted\"\r\nname";
  r.rows[4].summary.interval.reset();
  write_results(folder.path(), r);
  const auto rows = parsed_csv(read_file(folder / "results.csv"));
  REQUIRE(rows.size() == r.rows.size() + 1);
  for (const auto& row : rows) REQUIRE(row.size() == rows[0].size());
  const std::vector<std::string> header = {"evaluation", "metric", "method",  "probe",   "mean",   "deviation",
                                           "low",        "high",   "records", "samples", "dropped"};
  CHECK(rows[0] == header);
  CHECK(rows[4][2] == r.rows[3].method);
  CHECK(std::stod(rows[4][4]) == 0.1 + 0.2);
  CHECK(std::stod(rows[4][6]) == r.rows[3].summary.interval->low);
  CHECK(rows[5][6] == "null");
  CHECK(read_file(folder / "results.csv").find("\"a, \"\"quoted\"\"\r\nname\"") != std::string::npos);
}

TEST_CASE("empty results and broken text can be written") {
  const TemporaryFolder folder;
  const json empty = written_json(folder, Results{});
  CHECK(empty["complete"] == false);
  CHECK(empty["rows"].empty());
  CHECK(parsed_csv(read_file(folder / "results.csv")).size() == 1);
  Results r;
  r.notes = {"bad \xFF byte"};
  CHECK(written_json(folder, r)["notes"][0] == "bad \uFFFD byte");
  CHECK_THROWS_AS(write_results(folder / "missing", r), Error);
}

TEST_CASE("the table fits a terminal") {
  Results r = test::sample_results();
  for (int i = 0; i < 6; ++i) {
    r.probes.push_back(r.probes[0]);
    r.probes.back().name = "a-probe-with-quite-a-long-name-\u00E9\x1B[31m-" + std::to_string(i);
    r.rows.push_back(r.rows[0]);
    r.rows.back().probe = r.probes.back().name;
  }
  r.notes.push_back("gr\u00FC\u00DF\tdich");
  std::istringstream lines(results_table(r));
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    CHECK_MESSAGE(line.size() <= 100, line);
    for (const char c : line) CHECK((c >= 0x20 && c < 0x7F));
  }
  CHECK(count > 30);
  const std::string table = results_table(r);
  CHECK(table.find("gradcam  0.412 +-0.013  0.535 +-0.013  0.541 +-0.013") != std::string::npos);
  CHECK(table.find("86.35 %") != std::string::npos);
  CHECK(table.find("linear-bce localises better than linear-ce") != std::string::npos);
  CHECK(table.find("INCOMPLETE") == std::string::npos);
  CHECK(table.find("gr??") != std::string::npos);
}

TEST_CASE("the table of an incomplete or empty run is marked") {
  CHECK(results_table(Results{}).find("INCOMPLETE") != std::string::npos);
  Results r = test::sample_results();
  r.complete = false;
  r.rows.pop_back();
  r.rows[0].summary.mean = not_a_number;
  const std::string table = results_table(r);
  CHECK(table.find("INCOMPLETE") != std::string::npos);
  CHECK(table.find("n/a") != std::string::npos);
}
