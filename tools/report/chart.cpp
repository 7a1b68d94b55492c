#include "tools/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/report/findings.h"
#include "tools/report/typography.h"

namespace hp {
namespace {

constexpr double left = 52, right = 16, top = 22;
constexpr double character = 7.0;  // width of one, at the size of labels

std::string px(double value) { return fmt::format("{}", std::round(value * 10) / 10); }

Html::Scope open_svg(Html& html, const char* kind, double width, double height) {
  return html.in("svg", {{"class", kind},
                         {"role", "img"},
                         {"width", px(width)},
                         {"height", px(height)},
                         {"viewBox", fmt::format("0 0 {} {}", px(width), px(height))}});
}

void line(Html& html, const char* kind, double x1, double y1, double x2, double y2) {
  html.empty("line", {{"class", kind}, {"x1", px(x1)}, {"y1", px(y1)}, {"x2", px(x2)}, {"y2", px(y2)}});
}

void label(Html& html, const char* kind, double x, double y, const std::string& text) {
  html.element("text", {{"class", kind}, {"x", px(x)}, {"y", px(y)}}, text);
}

// The part of the picture inside the axes. y grows downwards.
struct Frame {
  Axis axis;
  double width, bottom;

  double y(double value) const { return axis.place(value, bottom, top); }
  void draw(Html& html) const {
    for (const double tick : axis.ticks()) {
      line(html, std::abs(tick) < axis.step / 2 ? "zero" : "grid", left, y(tick), width - right, y(tick));
      label(html, "tick end", left - 8, y(tick) + 4, typeset(axis.label(tick)));
    }
  }
};

std::string shortened(const std::string& text, double width) {
  const auto room = static_cast<size_t>(std::max(4.0, width / character));
  return characters(text) <= room ? text : first_characters(text, room - 1) + "\u2026";
}

struct BarLayout {
  double bar, group, width;
};

// Bars between 14 and 44 wide, whatever fills the page; groups wide enough for their names.
BarLayout layout_of(const BarChart& chart) {
  constexpr double page = 700, spacing = 22;
  const auto groups = static_cast<double>(std::max<size_t>(1, chart.groups.size()));
  const auto series = static_cast<double>(std::max<size_t>(1, chart.series.size()));
  const double room = (page - left - right) / groups - spacing;
  const double bar = std::clamp(room / series, 14.0, 44.0);
  double longest = 0;
  for (const std::string& name : chart.groups) longest = std::max(longest, static_cast<double>(characters(name)));
  const double group = std::max(bar * series + spacing, std::min(longest, 20.0) * character + 8);
  return {bar, group, std::max(320.0, left + right + groups * group)};
}

void draw_bar(Html& html, const Frame& frame, const Bar& bar, size_t colour, double x, double width) {
  const double centre = x + width / 2;
  const bool upright = width >= 34;
  const auto write = [&](double y, const std::string& text) {
    if (upright) return label(html, "value", centre, y - 5, text);
    html.element("text",
                 {{"class", "value along"},
                  {"transform", fmt::format("translate({} {}) rotate(-90)", px(centre + 4), px(y - 5))}},
                 text);
  };
  if (!std::isfinite(bar.value)) return write(frame.y(std::clamp(0.0, frame.axis.low, frame.axis.high)), "n/a");
  const double zero = frame.y(0), end = frame.y(bar.value);
  html.empty("rect", {{"class", "bar " + series_class(colour)},
                      {"x", px(x + 1.5)},
                      {"y", px(std::min(zero, end))},
                      {"width", px(width - 3)},
                      {"height", px(std::max(0.5, std::abs(zero - end)))}});
  double highest = std::max(bar.value, 0.0);
  if (bar.interval && std::isfinite(bar.interval->low) && std::isfinite(bar.interval->high)) {
    const double low = frame.y(bar.interval->low), high = frame.y(bar.interval->high);
    line(html, "error", centre, low, centre, high);
    line(html, "error", centre - 4, low, centre + 4, low);
    line(html, "error", centre - 4, high, centre + 4, high);
    highest = std::max(highest, bar.interval->high);
  }
  write(frame.y(highest), typeset(value_text(bar.value)));
}

std::string bar_title(const BarChart& chart, size_t group, size_t series) {
  const Bar& bar = chart.bars[group][series];
  const std::string interval = bar.interval ? " " + interval_text(*bar.interval) : "";
  return typeset(
      fmt::format("{}, {}: {}{}", chart.groups[group], chart.series[series], value_text(bar.value), interval));
}

std::vector<double> values_of(const BarChart& chart) {
  std::vector<double> values;
  for (const auto& group : chart.bars) {
    for (const Bar& bar : group) {
      values.push_back(bar.value);
      if (bar.interval) values.insert(values.end(), {bar.interval->low, bar.interval->high});
    }
  }
  if (chart.reference) values.push_back(chart.reference->value);
  return values;
}

// "M1,2L3,4": a gap wherever a value is missing.
std::string path_of(const std::vector<double>& values, const Frame& frame, double step) {
  std::string path;
  bool pen_down = false;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) {
      path += fmt::format("{}{},{}", pen_down ? "L" : "M", px(left + step * static_cast<double>(i)),
                          px(frame.y(values[i])));
    }
    pen_down = std::isfinite(values[i]);
  }
  return path;
}

void draw_epochs(Html& html, size_t epochs, double step, double bottom) {
  const std::vector<double> ends = {1.0, static_cast<double>(epochs)};
  const Axis axis = Axis::around(ends, false, 5);
  label(html, "tick middle", left, bottom + 17, "1");
  for (const double tick : axis.ticks()) {
    const double x = left + step * (tick - 1);
    const bool whole = std::abs(tick - std::round(tick)) < 1e-6;
    if (whole && tick > 1 && tick <= static_cast<double>(epochs)) {
      label(html, "tick middle", x, bottom + 17, fmt::format("{:.0f}", tick));
    }
  }
}

}  // namespace

std::string series_class(size_t series) { return fmt::format("series{}", series % series_colours); }

void draw(Html& html, const BarChart& chart) {
  const BarLayout layout = layout_of(chart);
  const bool upright = layout.bar >= 34;
  const Frame frame{Axis::around(values_of(chart), true), layout.width, upright ? 236.0 : 256.0};
  const auto svg = open_svg(html, "chart", layout.width, frame.bottom + 34);
  html.element("title", chart.title);
  html.element("desc", chart.description);
  frame.draw(html);
  const double bars = layout.bar * static_cast<double>(chart.series.size());
  for (size_t g = 0; g < chart.groups.size(); ++g) {
    const double start = left + layout.group * static_cast<double>(g);
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const auto mark = html.in("g");
      html.element("title", bar_title(chart, g, s));
      const double x = start + (layout.group - bars) / 2 + layout.bar * static_cast<double>(s);
      draw_bar(html, frame, chart.bars[g][s], chart.colours[s], x, layout.bar);
    }
    label(html, "name", start + layout.group / 2, frame.bottom + 22, shortened(chart.groups[g], layout.group));
  }
  if (chart.reference && std::isfinite(chart.reference->value)) {
    line(html, "reference", left, frame.y(chart.reference->value), layout.width - right,
         frame.y(chart.reference->value));
  }
}

void draw(Html& html, const CurveChart& chart) {
  constexpr double width = 340, bottom = 176;
  std::vector<double> values;
  size_t epochs = 1;
  for (const Curve& curve : chart.curves) {
    values.insert(values.end(), curve.values.begin(), curve.values.end());
    epochs = std::max(epochs, curve.values.size());
  }
  const Frame frame{Axis::around(values, false, 4), width, bottom};
  const double step = epochs > 1 ? (width - left - right) / static_cast<double>(epochs - 1) : 0;
  const auto svg = open_svg(html, "chart", width, bottom + 40);
  html.element("title", chart.title);
  html.element("desc", chart.description);
  frame.draw(html);
  draw_epochs(html, epochs, step, bottom);
  label(html, "tick end", width - right, bottom + 35, "epoch");
  for (const Curve& curve : chart.curves) {
    const auto mark = html.in("g");
    html.element("title", curve.name);
    const std::string path = path_of(curve.values, frame, step);
    if (!path.empty()) html.empty("path", {{"class", "curve " + series_class(curve.colour)}, {"d", path}});
    if (curve.values.size() == 1 && !path.empty()) {
      html.empty("circle", {{"class", "dot " + series_class(curve.colour)},
                            {"cx", px(left)},
                            {"cy", px(frame.y(curve.values[0]))},
                            {"r", "3"}});
    }
  }
}

void draw(Html& html, const LineChart& chart) {
  constexpr double width = 340, bottom = 196;
  std::vector<double> values;
  for (const LineChart::Line& drawn : chart.lines) {
    for (const Bar& point : drawn.points) {
      values.push_back(point.value);
      if (point.interval) values.insert(values.end(), {point.interval->low, point.interval->high});
    }
  }
  if (chart.reference) values.push_back(chart.reference->value);
  const Frame frame{Axis::around(values, chart.from_zero, 4), width, bottom};
  const Axis across = Axis::around(chart.x, false, 4);
  const auto place = [&](double x) { return across.place(x, left + 8, width - right); };
  const auto svg = open_svg(html, "chart", width, bottom + 40);
  html.element("title", chart.title);
  html.element("desc", chart.description);
  frame.draw(html);
  for (const double tick : across.ticks())
    label(html, "tick middle", place(tick), bottom + 17, typeset(across.label(tick)));
  label(html, "tick end", width - right, bottom + 35, chart.x_title);
  if (chart.reference)
    line(html, "reference", left, frame.y(chart.reference->value), width - right, frame.y(chart.reference->value));
  for (const LineChart::Line& drawn : chart.lines) {
    const auto mark = html.in("g");
    html.element("title", drawn.name);
    std::string path;
    for (size_t i = 0; i < drawn.points.size(); ++i) {
      const Bar& point = drawn.points[i];
      if (!std::isfinite(point.value)) continue;
      const double x = place(chart.x[i]), y = frame.y(point.value);
      path += fmt::format("{}{},{}", path.empty() ? "M" : "L", px(x), px(y));
      if (point.interval) line(html, "error", x, frame.y(point.interval->low), x, frame.y(point.interval->high));
      html.empty("circle", {{"class", "dot " + series_class(drawn.colour)}, {"cx", px(x)}, {"cy", px(y)}, {"r", "3"}});
    }
    if (!path.empty()) html.empty("path", {{"class", "curve " + series_class(drawn.colour)}, {"d", path}});
  }
}

void draw_interval(Html& html, const Axis& axis, const Summary& summary, bool significant) {
  constexpr double width = 150, height = 18, margin = 6, middle = height / 2;
  const std::string text = value_text(summary.mean) + (summary.interval ? " " + interval_text(*summary.interval) : "");
  const auto svg = open_svg(html, significant ? "interval significant" : "interval", width, height);
  html.element("title", typeset(text));
  const auto x = [&](double value) { return axis.place(value, margin, width - margin); };
  line(html, "zero", x(0), 0, x(0), height);
  if (summary.interval && std::isfinite(summary.interval->low) && std::isfinite(summary.interval->high)) {
    line(html, "error", x(summary.interval->low), middle, x(summary.interval->high), middle);
  }
  if (std::isfinite(summary.mean)) {
    html.empty("circle", {{"class", "dot"}, {"cx", px(x(summary.mean))}, {"cy", px(middle)}, {"r", "3.5"}});
  }
}

}  // namespace hp
