#include "tools/report/chart.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <pugixml.hpp>

#include "tools/report/typography.h"

using namespace hp;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

pugi::xml_document parsed(const Html& html) {
  pugi::xml_document document;
  const pugi::xml_parse_result result = document.load_string(html.page().c_str());
  REQUIRE_MESSAGE(result, result.description());
  return document;
}

BarChart chart_of(std::vector<std::vector<Bar>> bars) {
  BarChart chart;
  chart.title = "means";
  for (size_t g = 0; g < bars.size(); ++g) chart.groups.push_back("method" + std::to_string(g));
  for (size_t s = 0; s < bars[0].size(); ++s) {
    chart.series.push_back("probe" + std::to_string(s));
    chart.colours.push_back(s);
  }
  chart.bars = std::move(bars);
  return chart;
}

std::vector<pugi::xml_node> bars_of(const pugi::xml_document& document) {
  std::vector<pugi::xml_node> bars;
  for (const auto& found : document.select_nodes("//rect")) bars.push_back(found.node());
  return bars;
}

double number(const pugi::xml_node& node, const char* name) { return node.attribute(name).as_double(); }

}  // namespace

TEST_CASE("an axis covers its values with round steps") {
  const Axis axis = Axis::around(std::vector<double>{0.191, 0.541}, true);
  CHECK(axis.low == 0);
  CHECK(axis.step == doctest::Approx(0.2));
  CHECK(axis.high == doctest::Approx(0.6));
  CHECK(axis.ticks().size() == 4);
  CHECK(axis.label(axis.ticks()[1]) == "0.2");
  CHECK(axis.place(0.3, 100, 200) == doctest::Approx(150));

  const Axis without_zero = Axis::around(std::vector<double>{7.1, 8.6}, false);
  CHECK(without_zero.low >= 6.5);
  CHECK(without_zero.low <= 7.1);
  CHECK(without_zero.high >= 8.6);
}

TEST_CASE("an axis of negative values ends at 0") {
  const Axis axis = Axis::around(std::vector<double>{-0.35, -0.02}, true);
  CHECK(axis.low <= -0.35);
  CHECK(axis.low > -0.6);
  CHECK(axis.high == 0);
}

TEST_CASE("an axis always has an extent") {
  for (const std::vector<double>& values : {std::vector<double>{},
                                            {0, 0, 0},
                                            {not_a_number, not_a_number},
                                            {INFINITY, -INFINITY},
                                            {5, 5},
                                            {1e-320},
                                            {1e308, -1e308}}) {
    for (const bool with_zero : {true, false}) {
      const Axis axis = Axis::around(values, with_zero);
      CHECK(std::isfinite(axis.low));
      CHECK(axis.high > axis.low);
      CHECK(axis.step > 0);
      CHECK(axis.ticks().size() >= 2);
      CHECK(axis.ticks().size() <= 12);
    }
  }
  const Axis zeros = Axis::around(std::vector<double>{0, 0}, true);
  CHECK(zeros.low == 0);
  CHECK(zeros.high == 1);
}

TEST_CASE("tick labels have as many decimals as the step needs") {
  CHECK(Axis{0, 10, 2}.label(4) == "4");
  CHECK(Axis{0, 0.1, 0.02}.label(0.06) == "0.06");
  CHECK(Axis{0, 5e-7, 1e-7}.label(2e-7) == "2.0e-07");
}

TEST_CASE("bars grow up from zero and down") {
  Html html;
  draw(html, chart_of({{{0.5, Interval{0.4, 0.6}}, {-0.25, Interval{-0.3, -0.2}}}}));
  const auto document = parsed(html);
  const auto bars = bars_of(document);
  REQUIRE(bars.size() == 2);
  const double zero = number(document.select_node("//line[@class='zero']").node(), "y1");
  CHECK(number(bars[0], "y") + number(bars[0], "height") == doctest::Approx(zero).epsilon(0.01));
  CHECK(number(bars[1], "y") == doctest::Approx(zero).epsilon(0.01));
  CHECK(number(bars[0], "height") == doctest::Approx(2 * number(bars[1], "height")).epsilon(0.01));
  CHECK(document.select_nodes("//line[@class='error']").size() == 6);
  CHECK(document.select_node("/svg/title").node().text().get() == std::string("means"));
  CHECK(document.select_node("/svg/desc"));
}

TEST_CASE("values that are not finite leave a note instead of a bar") {
  Html html;
  draw(html, chart_of({{{not_a_number, {}}, {0.5, Interval{not_a_number, INFINITY}}}, {{0, {}}, {INFINITY, {}}}}));
  const auto document = parsed(html);
  CHECK(bars_of(document).size() == 2);
  CHECK(document.select_nodes("//line[@class='error']").empty());
  CHECK(document.select_nodes("//text[.='n/a']").size() == 2);
  CHECK(html.page().find("nan") == std::string::npos);
  CHECK(html.page().find("inf") == std::string::npos);
}

TEST_CASE("bars of zeros lie on the axis") {
  Html html;
  draw(html, chart_of({{{0, Interval{0, 0}}, {0, Interval{0, 0}}}}));
  const auto document = parsed(html);
  for (const pugi::xml_node& bar : bars_of(document)) CHECK(number(bar, "height") == doctest::Approx(0.5));
  CHECK(document.select_nodes("//text[.='0.000']").size() == 2);
}

TEST_CASE("many bars stay inside the picture, with labels turned upright") {
  Html html;
  draw(html, chart_of(std::vector<std::vector<Bar>>(9, std::vector<Bar>(7, Bar{0.5, Interval{0.4, 0.6}}))));
  const auto document = parsed(html);
  const double width = number(document.child("svg"), "width");
  double last = 0;
  for (const pugi::xml_node& bar : bars_of(document)) {
    CHECK(number(bar, "x") >= last);
    last = number(bar, "x") + number(bar, "width");
  }
  CHECK(last < width);
  CHECK(document.select_nodes("//text[contains(@transform, 'rotate')]").size() == 63);
}

TEST_CASE("curves break at missing values, and one epoch is a dot") {
  Html html;
  draw(html, CurveChart{"loss", "", {{"a", 0, {1, 0.5, not_a_number, 0.25, 0.2}}}});
  const auto document = parsed(html);
  const std::string path = document.select_node("//path").node().attribute("d").value();
  CHECK(std::count(path.begin(), path.end(), 'M') == 2);
  CHECK(std::count(path.begin(), path.end(), 'L') == 2);

  Html single;
  draw(single, CurveChart{"loss", "", {{"a", 0, {1}}}});
  CHECK(parsed(single).select_nodes("//circle").size() == 1);
}

TEST_CASE("text is set for people") {
  CHECK(typeset("-0.1 [-0.2, 0.3]") == "\u22120.1\u00A0[\u22120.2,\u00A00.3]");
  CHECK(typeset("linear-ce-2, 95 %") == "linear-ce-2, 95\u00A0%");
  CHECK(characters("\u2212a\u00A0") == 3);
  CHECK(first_characters("\u2212ab", 2) == "\u2212a");
}
