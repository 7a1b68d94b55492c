// The file in which a run keeps the scores of every batch: what comes back from it, and what is said of a damaged one.
#include "tools/experiment/score_log.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <limits>

#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
namespace fs = std::filesystem;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

ScoredBatch batch(int number) {
  const double third = number + 1.0 / 3;
  return {{{{"grid \"a\", b", "gridpg", "ixg", "linear-ce"},
            {{"caf\xe9 \xc3\xa9 \xff.png", 3, 1, third}, {"grid 1", 0, 0, -0.0}, {"grid 1", 1, 2, 5e-324}}},
           {{"gini", "gini", "ixg", "linear-bce"}, {{"", 0, 0, infinity}, {"x", 0, 0, -infinity}}}},
          0.1 * number,
          7,
          {1e-300, third, infinity},
          {"a warning\nof two lines"},
          {{"grids2x2", "caf\xe9", "cell 3: \xe9", "maps/0/input.png", {{"ixg", "linear-ce", "maps/0/ixg.png"}}}},
          {"maps/0/input.png", "maps/0/ixg.npy"}};
}

void check_same(const ScoredBatch& a, const ScoredBatch& b) {
  CHECK(a.scores == b.scores);
  CHECK(std::signbit(a.scores[0].second[1].value));
  CHECK(a.negative_logits == b.negative_logits);
  CHECK(a.logits == b.logits);
  CHECK(a.completeness == b.completeness);
  CHECK(a.warnings == b.warnings);
  CHECK(a.files == b.files);
  REQUIRE(a.gallery.size() == b.gallery.size());
  for (size_t i = 0; i < a.gallery.size(); ++i) {
    CHECK(a.gallery[i].evaluation == b.gallery[i].evaluation);
    CHECK(a.gallery[i].sample == b.gallery[i].sample);
    CHECK(a.gallery[i].target == b.gallery[i].target);
    CHECK(a.gallery[i].input == b.gallery[i].input);
    REQUIRE(a.gallery[i].maps.size() == b.gallery[i].maps.size());
    CHECK(a.gallery[i].maps[0].picture == b.gallery[i].maps[0].picture);
  }
}

struct Place {
  TemporaryFolder folder;
  fs::path file = folder / "scores/grids2x2/ixg.jsonl";

  void write(int batches) const {
    ScoreLog log(file, "digest");
    for (int i = static_cast<int>(log.earlier().size()); i < batches; ++i) log.append(batch(i));
  }
  std::string complaint() const {
    return error_of([&] { ScoreLog(file, "digest"); });
  }
};

}  // namespace

TEST_CASE("scores come back bit by bit, whatever they are called") {
  const Place place;
  place.write(3);
  const ScoreLog log(place.file, "digest");
  REQUIRE(log.earlier().size() == 3);
  CHECK_FALSE(log.foreign());
  for (int i = 0; i < 3; ++i) check_same(log.earlier()[static_cast<size_t>(i)], batch(i));
}

TEST_CASE("scores that are no numbers keep their sign") {
  const Place place;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  {
    ScoreLog log(place.file, "digest");
    log.append({{{{"e", "m", "a", "p"}, {{"x", 0, 0, nan}, {"y", 0, 0, -nan}}}}, 0, 1, {}, {}, {}, {}});
  }
  const ScoreLog log(place.file, "digest");
  const std::vector<Record>& records = log.earlier().at(0).scores.at(0).second;
  CHECK(std::isnan(records[0].value));
  CHECK(std::isnan(records[1].value));
  CHECK(std::signbit(records[0].value) == std::signbit(nan));
  CHECK(std::signbit(records[1].value) != std::signbit(nan));
}

TEST_CASE("scores go on behind what was kept") {
  const Place place;
  place.write(4);
  const std::string whole = read_file(place.file);
  {
    ScoreLog log(place.file, "digest");
    log.keep(2);
    CHECK(log.earlier().size() == 2);
    log.append(batch(2));
  }
  CHECK(whole.starts_with(read_file(place.file)));
  place.write(4);
  CHECK(read_file(place.file) == whole);
}

TEST_CASE("scores: the line that a killed process did not finish counts as not written") {
  const Place place;
  place.write(3);
  const std::string whole = read_file(place.file);
  const size_t third = whole.rfind('\n', whole.size() - 2) + 1;
  for (size_t size = third; size < whole.size(); size += 1 + size % 7) {
    write_file(place.file, whole.substr(0, size));
    CHECK(ScoreLog(place.file, "digest").earlier().size() == 2);
    place.write(3);
    REQUIRE(read_file(place.file) == whole);
  }
}

TEST_CASE("scores: any flipped bit is found, with the file, the line and what to do") {
  const Place place;
  place.write(2);
  const std::string whole = read_file(place.file);
  size_t line = 1;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 7));
    write_file(place.file, bad);
    // Where a line's end is lost the last line may be one that was not finished.
    const std::string complaint = place.complaint();
    const bool last_end = at + 1 == whole.size();
    CAPTURE(at);
    if (!last_end) {
      CHECK(contains(complaint, place.file.string() + " is damaged"));
      CHECK(contains(complaint, "delete the file"));
      CHECK(contains(complaint, fmt::format("line {} of", line)));
    }
    line += whole[at] == '\n' ? 1 : 0;
  }
}

TEST_CASE("scores of something else are begun anew") {
  const Place place;
  place.write(2);
  {
    ScoreLog log(place.file, "another digest");
    CHECK(log.foreign());
    CHECK(log.earlier().empty());
    log.append(batch(5));
  }
  CHECK(ScoreLog(place.file, "another digest").earlier().size() == 1);
  write_file(place.file, "");
  CHECK(ScoreLog(place.file, "digest").earlier().empty());
  write_file(place.file, "PK\x03\x04 something");
  CHECK(contains(place.complaint(), "line 1 of"));
}

TEST_CASE("scores: a full disk is said, and what was written before stays") {
  const Place place;
  place.write(1);
  const std::string whole = read_file(place.file);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{whole.size() + 100, before.rlim_max};
  std::string complaint;
  {
    ScoreLog log(place.file, "digest");
    REQUIRE(setrlimit(RLIMIT_FSIZE, &tight) == 0);
    complaint = error_of([&] { log.append(batch(1)); });
    REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  }
  std::signal(SIGXFSZ, handler);
  CHECK(contains(complaint, "cannot write " + place.file.string() + ": File too large"));
  CHECK(ScoreLog(place.file, "digest").earlier().size() == 1);
  CHECK(read_file(place.file) == whole);
}
