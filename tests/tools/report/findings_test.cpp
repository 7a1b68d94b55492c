#include "tools/report/findings.h"

#include <doctest/doctest.h>

#include <limits>

#include "tests/tools/report/sample_results.h"

using namespace hp;

namespace {

Difference difference(const std::string& metric, const std::string& method, double mean, double half) {
  return {metric, metric, method, "bce", "ce", test::summary(mean, half)};
}

}  // namespace

TEST_CASE("a finding names what is better, by how much, and what is open") {
  Results r;
  r.differences = {difference("gridpg", "gradcam", 0.123, 0.022), difference("gridpg", "ixg", 0.01, 0.02)};
  const auto found = findings(r);
  REQUIRE(found.size() == 1);
  CHECK(found[0].significant);
  CHECK(found[0].text ==
        "On GridPG, bce localises better than ce with gradcam (+0.123 [0.101, 0.145]); no significant difference with "
        "ixg.");
}

TEST_CASE("a finding can point both ways, and follows the sense of its metric") {
  Results r;
  r.differences = {difference("entropy", "lrp", -0.4, 0.1), difference("entropy", "ixg", 0.3, 0.1),
                   difference("gini", "lrp", 0.2, 0.1), difference("mystery", "lrp", -0.2, 0.1)};
  const auto found = findings(r);
  REQUIRE(found.size() == 3);
  CHECK(found[0].text ==
        "On entropy, bce gives less concentrated maps than ce with ixg (+0.300 [0.200, 0.400]), but gives more "
        "concentrated maps than ce with lrp (-0.400 [-0.500, -0.300]).");
  CHECK(found[1].text ==
        "On the Gini index, bce gives more concentrated maps than ce with lrp (+0.200 [0.100, 0.300]).");
  CHECK(found[2].text == "On mystery, bce scores lower than ce with lrp (-0.200 [-0.300, -0.100]).");
}

TEST_CASE("nothing significant is said to be so") {
  Results r;
  CHECK(verdict(r) == "There are no pairs of probes to compare.");
  r.differences = {difference("gridpg", "ixg", 0.01, 0.02), difference("gridpg", "lrp", 0.01, 0.02)};
  r.differences[1].summary.interval.reset();
  r.experiment = {{"statistics", {{"confidence", 0.99}}}};
  CHECK(verdict(r).find("No difference between probes is significant: no 99 % interval") == 0);
  const auto found = findings(r);
  REQUIRE(found.size() == 1);
  CHECK_FALSE(found[0].significant);
  CHECK(found[0].text == "On GridPG, bce and ce do not differ significantly with ixg and lrp.");
}

TEST_CASE("conclusions put all localisation metrics together, method by method, whichever sign") {
  Results r;
  CHECK(conclusions(r).empty());
  const auto epg = [](const std::string& evaluation, const std::string& method, double mean) {
    return Difference{evaluation, "epg", method, "bce", "ce", test::summary(mean, 0.1)};
  };
  r.differences = {difference("gridpg", "gradcam", 0.3, 0.1),
                   difference("gridpg", "ixg", -0.2, 0.1),
                   difference("gridpg", "lrp", 0.05, 0.1),
                   difference("gridpg", "intgrad", 0.2, 0.1),
                   epg("boxes", "gradcam", 0.05),
                   epg("boxes", "lrp", 0.15),
                   epg("masks", "intgrad", -0.2),
                   difference("entropy", "lrp", -0.4, 0.1),
                   difference("entropy", "gradient", -0.4, 0.1)};
  r.differences.push_back({"gridpg", "gridpg", "gradcam", "mlp", "ce", test::summary(0.01, 0.1)});
  r.differences.push_back({"gridpg", "gridpg", "gradcam", "mlp", "bce", test::summary(-0.3, 0.1)});
  r.differences.push_back({"gridpg", "gridpg", "ixg", "mlp", "bce", test::summary(0, 0.1)});
  const std::vector<std::string> said = conclusions(r);
  REQUIRE(said.size() == 3);
  CHECK(said[0] ==
        "bce localises better than ce with gradcam and lrp; it localises worse than ce with ixg; it is better than ce "
        "by one measure and worse by another with intgrad.");
  CHECK(said[1] == "mlp and ce localise alike: no significant difference with gradcam.");
  CHECK(said[2] == "mlp localises worse than bce with gradcam; no significant difference with ixg.");
}

TEST_CASE("an interval that touches 0 or is not a number is not significant") {
  Difference d = difference("gridpg", "ixg", 0.1, 0.1);
  d.summary.interval = Interval{0, 0.2};
  CHECK_FALSE(d.significant());
  d.summary.interval = Interval{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  CHECK_FALSE(d.significant());
}

TEST_CASE("numbers keep what matters") {
  CHECK(value_text(0.5124) == "0.512");
  CHECK(value_text(-0.0) == "0.000");
  CHECK(value_text(0.00012) == "1.2e-04");
  CHECK(value_text(2.5e7) == "2.5e+07");
  CHECK(value_text(std::numeric_limits<double>::infinity()) == "n/a");
  CHECK(signed_text(0.1) == "+0.100");
  CHECK(signed_text(0) == "0.000");
  CHECK(percent_text(0.8635) == "86.35 %");
}

TEST_CASE("an evaluation with a name of its own keeps it") {
  CHECK(evaluation_title("gridpg", "gridpg") == "GridPG");
  CHECK(evaluation_title("entropy", "entropy") == "Entropy");
  CHECK(evaluation_title("small grids", "gridpg") == "small grids (GridPG)");
}
