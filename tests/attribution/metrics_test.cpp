// Metrics against the numbers of protocol.md 9 and against loops in double precision; grids; statistics.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "attribution/metrics/grids.h"
#include "attribution/metrics/metric.h"
#include "attribution/metrics/pointing.h"
#include "attribution/metrics/statistics.h"
#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/random.h"
#include "tests/attribution/device.h"

namespace hp {
namespace {

using test::TestDevice;

// m[i, j] = (((7i + 3j) mod 11) - 4) / 5, 12 x 12.
std::vector<float> formula_map() {
  std::vector<float> map;
  for (int i = 0; i < 12; ++i) {
    for (int j = 0; j < 12; ++j) map.push_back(static_cast<float>((7 * i + 3 * j) % 11 - 4) / 5);
  }
  return map;
}

std::vector<Record> score_cells(TestDevice& device, const std::vector<float>& map, int64_t side, int cells) {
  std::vector<float> maps;
  std::vector<Subject> subjects;
  for (int cell = 0; cell < cells * cells; ++cell) {
    maps.insert(maps.end(), map.begin(), map.end());
    subjects.push_back({"grid", cell, cell, {}});
  }
  const Tensor tensor = device.tensor({cells * cells, side, side}, maps);
  return make_metric("grid_pointing", {{"cells", cells}})->score(device.context(), tensor, subjects);
}

TEST_CASE("grid pointing of the formula map is protocol 9's") {
  TestDevice device;
  const std::vector<double> two = {.25695636, .24390243, .23531430, .26382684};
  const std::vector<double> three = {.10717965, .12126416, .08347646, .10133974, .14187564,
                                     .12813464, .08965990, .11954654, .10752320};
  for (const auto& [cells, want] : {std::pair(2, two), std::pair(3, three)}) {
    const std::vector<Record> got = score_cells(device, formula_map(), 12, cells);
    REQUIRE(got.size() == want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      CHECK(got[i].value == doctest::Approx(want[i]).epsilon(1e-6));
      CHECK(got[i].cell == static_cast<int>(i));
      CHECK(got[i].sample == "grid");
    }
  }
}

TEST_CASE("entropy, Gini and energy pointing of the formula map are protocol 9's") {
  TestDevice device;
  const Tensor map = device.tensor({1, 12, 12}, formula_map());
  const std::vector<Subject> subject = {{"image", 3, 0, {{{10, 20, 49, 77}}, 60, 90, {}}}};
  CHECK(make_metric("entropy", {})->score(device.context(), map, subject)[0].value ==
        doctest::Approx(7.07816792).epsilon(1e-6));
  CHECK(make_metric("gini", {})->score(device.context(), map, subject)[0].value ==
        doctest::Approx(.60879614).epsilon(1e-6));
  const Record energy = make_metric("energy_pointing", {})->score(device.context(), map, subject)[0];
  CHECK(energy.value == doctest::Approx(.47990379).epsilon(1e-6));
  CHECK(energy.target == 3);
}

TEST_CASE("a map without positive values scores 0 everywhere") {
  TestDevice device;
  const Tensor map = device.tensor({1, 12, 12}, std::vector<float>(144, -1.0f));
  const std::vector<Subject> subject = {{"image", 0, 0, {{{0, 0, 6, 6}}, 0, 0, {}}}};
  for (const std::string name : {"entropy", "gini", "energy_pointing"}) {
    CAPTURE(name);
    CHECK(make_metric(name, {})->score(device.context(), map, subject)[0].value == 0);
  }
  CHECK(score_cells(device, std::vector<float>(144, -1.0f), 12, 3)[4].value == 0);
}

TEST_CASE("Gini does not depend on the map's scale") {
  TestDevice device;
  std::vector<float> maps = formula_map();
  for (float value : formula_map()) maps.push_back(1e-9f * value);
  const Tensor tensor = device.tensor({2, 12, 12}, maps);
  const std::vector<Subject> subjects(2);
  const std::vector<Record> got = make_metric("gini", {})->score(device.context(), tensor, subjects);
  CHECK(got[0].value == doctest::Approx(got[1].value).epsilon(1e-6));
}

TEST_CASE("smoothing changes the score, and gauss129 equals a loop in double precision") {
  TestDevice device;
  constexpr int64_t side = 132;
  const Random random(7, "map");
  std::vector<float> map;
  for (int64_t i = 0; i < side * side; ++i) map.push_back(random.uniform(static_cast<uint64_t>(i), -0.9f, 1.1f));
  const auto reflect = [](int64_t i) { return i < 0 ? -i : i < side ? i : 2 * (side - 1) - i; };
  std::vector<double> taps;
  double total = 0;
  for (int t = -64; t <= 64; ++t) total += taps.emplace_back(std::exp(-0.5 * (t / 32.25) * (t / 32.25)));
  std::vector<double> rows(static_cast<size_t>(side * side), 0), want = rows;
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      for (int t = -64; t <= 64; ++t) {
        rows[static_cast<size_t>(y * side + x)] +=
            taps[static_cast<size_t>(t + 64)] / total * map[static_cast<size_t>(y * side + reflect(x + t))];
      }
    }
  }
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      for (int t = -64; t <= 64; ++t) {
        want[static_cast<size_t>(y * side + x)] +=
            taps[static_cast<size_t>(t + 64)] / total * rows[static_cast<size_t>(reflect(y + t) * side + x)];
      }
    }
  }
  std::vector<double> cells(4, 0);
  double all = 0;
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      const double p = std::max(want[static_cast<size_t>(y * side + x)], 0.0);
      cells[static_cast<size_t>(y / 66 * 2 + x / 66)] += p;
      all += p;
    }
  }
  const Tensor tensor = device.tensor({1, side, side}, map);
  for (int cell = 0; cell < 4; ++cell) {
    const std::vector<Subject> subject = {{"", 0, cell, {}}};
    const auto score = [&](const char* smoothing) {
      return make_metric("grid_pointing", {{"cells", 2}, {"smoothing", smoothing}})
          ->score(device.context(), tensor, subject)[0]
          .value;
    };
    CHECK(score("gauss129") == doctest::Approx(cells[static_cast<size_t>(cell)] / all).epsilon(1e-5));
    CHECK(score("gauss129") != doctest::Approx(score("box5")).epsilon(1e-4));
    CHECK(score("none") != doctest::Approx(score("box5")).epsilon(1e-4));
  }
}

TEST_CASE("gauss129 is refused where the padding would not fit") {
  TestDevice device;
  const Tensor small = device.tensor({1, 128, 130}, std::vector<float>(128 * 130, 1.0f));
  const std::vector<Subject> subject(1);
  CHECK_THROWS_WITH_AS(
      make_metric("grid_pointing", {{"cells", 2}, {"smoothing", "gauss129"}})->score(device.context(), small, subject),
      doctest::Contains("got 128 x 130; expected larger images, or smoothing box5"), Error);
}

TEST_CASE("bad options and bad maps of metrics are named") {
  TestDevice device;
  CHECK_THROWS_WITH_AS(make_metric("grid", {}),
                       "[metric] unknown metric; got 'grid'; expected one of energy_pointing, entropy, gini, "
                       "grid_pointing",
                       Error);
  CHECK_THROWS_WITH_AS(
      make_metric("grid_pointing", {{"cells", 3}, {"smooth", "none"}}),
      doctest::Contains("[grid_pointing] unknown option; got 'smooth'; expected one of cells, smoothing"), Error);
  CHECK_THROWS_WITH_AS(make_metric("grid_pointing", {}), doctest::Contains("'cells' is missing"), Error);
  CHECK_THROWS_WITH_AS(make_metric("grid_pointing", {{"cells", 1}}), doctest::Contains("got 1; expected 2 to 16"),
                       Error);
  CHECK_THROWS_WITH_AS(make_metric("entropy", {{"cells", 2}}), "[entropy] unknown option; got 'cells'; expected none",
                       Error);
  const Tensor map = device.tensor({1, 12, 12}, formula_map());
  const std::vector<Subject> one(1), two(2);
  CHECK_THROWS_WITH_AS(make_metric("entropy", {})->score(device.context(), map, two),
                       doctest::Contains("do not fit the subjects"), Error);
  CHECK_THROWS_WITH_AS(make_metric("grid_pointing", {{"cells", 5}})->score(device.context(), map, one),
                       doctest::Contains("expected multiples of 5"), Error);
  CHECK_THROWS_WITH_AS(make_metric("energy_pointing", {})->score(device.context(), map, one),
                       doctest::Contains("a map without a region"), Error);
}

TEST_CASE("energy pointing looks at boxes, masks, or both") {
  TestDevice device;
  std::vector<float> values(144, 1.0F);
  std::vector<Subject> subject(1);
  subject[0].region.boxes = {{0, 0, 6, 12}};  // half of the map
  subject[0].region.mask.assign(144, 0);
  std::fill_n(subject[0].region.mask.begin(), 12, 1);  // the top row: half of it in the box
  const auto score = [&](const char* region) {
    const MetricPtr metric = make_metric("energy_pointing", {{"smoothing", "none"}, {"region", region}});
    return metric->score(device.context(), device.tensor({1, 12, 12}, values), subject).at(0).value;
  };
  CHECK(score("box") == doctest::Approx(72.0 / 144));
  CHECK(score("mask") == doctest::Approx(12.0 / 144));
  CHECK(score("all") == doctest::Approx(78.0 / 144));
  subject[0].region.mask.clear();
  CHECK_THROWS_WITH_AS(score("mask"), doctest::Contains("a map without a region"), Error);
}

TEST_CASE("a region is the union of its boxes and its mask, rounded down") {
  Region region{{{0, 0, 30, 15}, {15, 0, 59.9, 29}, {-10, 80, 1000, 95}}, 60, 90, {}};
  region.mask.assign(144, 0);
  region.mask[143] = 1;
  std::vector<float> mask(144, 0.0f);
  rasterise(region, 12, 12, mask);
  std::vector<float> want(144, 0.0f);
  for (size_t x = 0; x < 6; ++x) want[x] = want[12 + x] = 1;                  // 30 of 60 -> 6, 15 of 90 -> 2
  for (size_t x = 3; x < 11; ++x) want[x] = want[12 + x] = want[24 + x] = 1;  // 59.9 -> 11, 29 of 90 -> 3
  for (size_t x = 120; x < 144; ++x) want[x] = 1;                             // cut to the map, 80 of 90 -> 10
  want[143] = 1;
  CHECK(mask == want);
  std::vector<float> none(144, 0.0f);
  rasterise({{{1, 1, 2, 2}}, 60, 90, {}}, 12, 12, none);  // too small for any pixel
  CHECK(none == std::vector<float>(144, 0.0f));
}

TEST_CASE("candidates are what every probe classifies correctly and confidently") {
  // 4 images, 3 classes. Image 1: second probe wrong. Image 2: first probe unsure. Image 3 is right.
  const std::vector<float> first = {9, 0, 0, 0, 9, 0, 1, 0, 0, 9, 0, 0};
  const std::vector<float> second = {8, -1, -1, 5, 4, 0, 9, 0, 0, 7, 1, 1};
  const std::vector<Scores> probes = {{first, Scores::Probability::softmax}, {second, Scores::Probability::sigmoid}};
  const std::vector<int> labels = {0, 1, 0, 0};
  const auto images = [&](Selection selection) {
    std::vector<int64_t> found;
    for (const Candidate& candidate : select_candidates(probes, labels, selection)) found.push_back(candidate.image);
    return found;
  };
  CHECK(images({0.95, 100}) == std::vector<int64_t>{0, 3});
  CHECK(images({0.5, 100}) == std::vector<int64_t>{0, 2, 3});
  CHECK(images({0.95, 1}) == std::vector<int64_t>{0});
}

TEST_CASE("grids have distinct classes, depend on the seed alone, and do not change when more are asked for") {
  std::vector<Candidate> candidates;
  for (int i = 0; i < 200; ++i) candidates.push_back({i, i % 10});
  const std::vector<Grid> some = build_grids(candidates, {3, 20, 5}), more = build_grids(candidates, {3, 400, 5});
  std::vector<int64_t> uses(10, 0);
  for (size_t i = 0; i < more.size(); ++i) {
    if (i < some.size()) CHECK((some[i].images == more[i].images && some[i].labels == more[i].labels));
    CHECK(std::set<int>(more[i].labels.begin(), more[i].labels.end()).size() == 9);
    for (size_t cell = 0; cell < 9; ++cell) {
      CHECK(more[i].images[cell] % 10 == more[i].labels[cell]);
      ++uses[static_cast<size_t>(more[i].labels[cell])];
    }
  }
  for (int64_t count : uses) CHECK(std::abs(count - 360) < 40);  // 400 * 9 / 10, standard deviation 6
  CHECK(build_grids(candidates, {3, 20, 6})[0].images != some[0].images);
}

TEST_CASE("too few classes for a grid are reported with numbers") {
  const std::vector<Candidate> candidates = {{0, 1}, {1, 1}, {2, 2}, {3, 7}};
  CHECK_THROWS_WITH_AS(build_grids(candidates, {2, 1, 0}),
                       doctest::Contains("too few classes for 2 x 2 grids; got 3 classes"), Error);
}

TEST_CASE("a grid's cells are row-major") {
  TestDevice device;
  std::vector<float> images;  // 8 images of 2 x 3 pixels, 2 channels: image * 100 + position
  for (int i = 0; i < 8; ++i) {
    for (int p = 0; p < 12; ++p) images.push_back(static_cast<float>(100 * i + p));
  }
  const Tensor grids = assemble_grids(device.context(), device.tensor({8, 2, 3, 2}, images), 2);
  REQUIRE(grids.shape() == Shape{2, 4, 6, 2});
  const std::vector<float> got = device.values(grids);
  for (int g = 0; g < 2; ++g) {
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 6; ++x) {
        const int image = 4 * g + y / 2 * 2 + x / 3, position = (y % 2 * 3 + x % 3) * 2;
        CHECK(got[static_cast<size_t>(((g * 4 + y) * 6 + x) * 2 + 1)] == 100 * image + position + 1);
      }
    }
  }
}

// `groups` samples of `size` records; the records of a sample share a part of their value.
std::vector<Record> correlated_records(uint64_t seed, int groups, int size, bool own_sample_each) {
  const Random shared(seed, "shared"), own(seed, "own");
  std::vector<Record> records;
  for (int g = 0; g < groups; ++g) {
    for (int i = 0; i < size; ++i) {
      const int number = g * size + i;
      const double value =
          2 + shared.normal(static_cast<uint64_t>(g)) + 0.3 * own.normal(static_cast<uint64_t>(number));
      records.push_back({std::to_string(own_sample_each ? number : g), i, 0, value});
    }
  }
  return records;
}

TEST_CASE("the bootstrap interval covers a known mean about as often as it says") {
  int covered = 0;
  for (uint64_t trial = 0; trial < 200; ++trial) {
    const Summary summary = summarise(correlated_records(trial, 60, 4, false), {trial, 400, 0.95});
    REQUIRE(summary.interval);
    covered += summary.interval->low <= 2 && 2 <= summary.interval->high;
  }
  CHECK(covered >= 178);  // 190 expected, standard deviation 3.1, and percentile intervals are slightly narrow
  CHECK(covered <= 199);
}

TEST_CASE("resampling whole samples widens the interval of correlated records") {
  const Summary grouped = summarise(correlated_records(1, 60, 9, false), {});
  const Summary naive = summarise(correlated_records(1, 60, 9, true), {});
  CHECK(grouped.mean == doctest::Approx(naive.mean));
  CHECK(grouped.deviation == doctest::Approx(naive.deviation));
  CHECK(grouped.samples == 60);
  CHECK(naive.samples == 540);
  CHECK(grouped.count == 540);
  const double ratio = (grouped.interval->high - grouped.interval->low) / (naive.interval->high - naive.interval->low);
  CHECK(ratio > 2);  // sqrt(9 * (1 + .09 / 9) / 1.09) = 2.9
  CHECK(ratio < 4);
}

TEST_CASE("statistics are those of the finite records, and the same for the same seed") {
  const std::vector<Record> records = {{"a", 0, 0, 1}, {"a", 1, 0, 3}, {"b", 0, 0, std::nan("")}, {"c", 0, 0, 8}};
  const Summary summary = summarise(records, {3, 500, 0.9});
  CHECK(summary.mean == 4);
  CHECK(summary.deviation == doctest::Approx(std::sqrt((9 + 1 + 16) / 3.0)));
  CHECK(summary.count == 3);
  CHECK(summary.samples == 2);
  CHECK(summary.dropped == 1);
  const Summary again = summarise(records, {3, 500, 0.9});
  CHECK(again.interval->low == summary.interval->low);
  CHECK(again.interval->high == summary.interval->high);
  CHECK(!summarise(std::span(records).first(2), {}).interval);
  CHECK(summarise({}, {}).count == 0);
}

TEST_CASE("differences pair records by sample, target and cell") {
  const std::vector<Record> a = {{"x", 1, 0, 5}, {"x", 2, 1, 7}, {"y", 1, 0, 1}};
  const std::vector<Record> b = {{"y", 1, 0, 4}, {"x", 2, 1, 1}, {"z", 1, 0, 9}};
  CHECK(paired_differences(a, b) == std::vector<Record>{{"x", 2, 1, 6}, {"y", 1, 0, -3}});
  CHECK_THROWS_WITH_AS(paired_differences(a, std::vector<Record>{{"q", 0, 0, 0}}),
                       doctest::Contains("no record has a partner"), Error);
  const std::vector<Record> twice = {a[0], a[0]};
  CHECK_THROWS_WITH_AS(paired_differences(twice, a), doctest::Contains("two records of sample 'x', target 1, cell 0"),
                       Error);
  CHECK_THROWS_AS(paired_differences(a, twice), Error);
}

TEST_CASE("a paired interval is narrower than the spread of the samples suggests") {
  std::vector<Record> a = correlated_records(4, 80, 1, false), b = a;
  const Random noise(9, "noise");
  for (size_t i = 0; i < b.size(); ++i) b[i].value += 0.1 + 0.05 * noise.normal(i);
  const Summary difference = summarise(paired_differences(b, a), {});
  CHECK(difference.interval->low > 0.05);
  CHECK(difference.interval->low < 0.1);
  CHECK(difference.interval->high > 0.1);
  const Summary alone = summarise(a, {});
  CHECK(alone.interval->high - alone.interval->low > 5 * (difference.interval->high - difference.interval->low));
}

}  // namespace
}  // namespace hp
