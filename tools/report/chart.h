// Chart: bars with error bars, curves, and single intervals as inline SVG that follows the page's colours.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attribution/metrics/statistics.h"
#include "tools/report/axis.h"
#include "tools/report/html.h"

namespace hp {

// Series (probes) are told apart by the classes "series0" ... "series7" of the style sheet.
constexpr size_t series_colours = 8;
std::string series_class(size_t series);

struct Bar {
  double value = 0;  // not finite: no bar, "n/a" in its place
  std::optional<Interval> interval;
};

struct BarChart {
  std::string title, description;           // description: read aloud instead of the picture
  std::vector<std::string> groups, series;  // along x, and within each group
  std::vector<std::vector<Bar>> bars;       // [groups][series]
  std::vector<size_t> colours;              // [series]
  struct Reference {
    double value;
    std::string label;
  };
  std::optional<Reference> reference;  // a dashed line
};
void draw(Html& html, const BarChart& chart);

struct Curve {
  std::string name;
  size_t colour = 0;
  std::vector<double> values;  // one an epoch, from epoch 1; not finite: a gap
};
struct CurveChart {
  std::string title, description;
  std::vector<Curve> curves;
};
void draw(Html& html, const CurveChart& chart);

// Values over numbers along x, with intervals.
struct LineChart {
  std::string title, description, x_title;
  std::vector<double> x;  // ascending
  struct Line {
    std::string name;
    size_t colour = 0;
    std::vector<Bar> points;  // one per x
  };
  std::vector<Line> lines;
  std::optional<BarChart::Reference> reference;
  bool from_zero = false;
};
void draw(Html& html, const LineChart& chart);

// A dot with its interval on an axis that marks 0, for one line of a table.
void draw_interval(Html& html, const Axis& axis, const Summary& summary, bool significant);

}  // namespace hp
