#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/report/chart.h"
#include "tools/report/findings.h"
#include "tools/report/sections.h"
#include "tools/report/typography.h"

namespace hp {
namespace {

std::vector<std::string> methods_of(const ShiftResult& shift) {
  std::vector<std::string> methods;
  for (const Row& row : shift.rows) {
    if (std::ranges::find(methods, row.method) == methods.end()) methods.push_back(row.method);
  }
  return methods;
}

const Row* row_of(const ShiftResult& shift, const std::string& method, const std::string& probe) {
  const auto found =
      std::ranges::find_if(shift.rows, [&](const Row& row) { return row.method == method && row.probe == probe; });
  return found == shift.rows.end() ? nullptr : &*found;
}

// Points by ascending scale: lines go from left to right.
std::vector<const ShiftPoint*> ascending(const ShiftResult& shift) {
  std::vector<const ShiftPoint*> points;
  for (const ShiftPoint& point : shift.points) points.push_back(&point);
  std::ranges::sort(points, {}, [](const ShiftPoint* point) { return point->scale; });
  return points;
}

LineChart chart_over(const std::vector<const ShiftPoint*>& points, const std::string& title) {
  LineChart chart;
  chart.title = title;
  chart.x_title = "scale";
  for (const ShiftPoint* point : points) chart.x.push_back(point->scale);
  return chart;
}

void write_figure(Html& html, const LineChart& chart, const std::vector<std::string>& names) {
  const auto figure = html.in("figure");
  html.element("figcaption", chart.title);
  write_series(html, names);
  draw(html, chart);
}

void write_charts(Html& html, const Results& results, const ShiftResult& shift) {
  const std::vector<const ShiftPoint*> points = ascending(shift);
  const auto pair = html.in("div", {{"class", "pair"}});
  LineChart losses = chart_over(points, "Loss on the test images");
  LineChart::Line ce{"cross entropy", 0, {}}, bce{"binary cross entropy", 1, {}};
  for (const ShiftPoint* point : points) {
    ce.points.push_back({point->scores.ce, {}});
    bce.points.push_back({point->scores.bce, {}});
    losses.description += fmt::format("Scale {}: cross entropy {}, binary {}. ", point->scale,
                                      value_text(point->scores.ce), value_text(point->scores.bce));
  }
  losses.lines = {ce, bce};
  losses.from_zero = true;
  write_figure(html, losses, {ce.name, bce.name});

  const std::vector<std::string> methods = methods_of(shift);
  if (methods.empty()) return;
  LineChart localisation = chart_over(points, fmt::format("GridPG, with {} intervals", confidence_text(results)));
  for (size_t m = 0; m < methods.size(); ++m) {
    LineChart::Line& drawn = localisation.lines.emplace_back(methods[m], m, std::vector<Bar>{});
    for (const ShiftPoint* point : points) {
      const Row* row = row_of(shift, methods[m], point->name);
      drawn.points.push_back(row ? Bar{row->summary.mean, row->summary.interval} : Bar{NAN, {}});
      if (row)
        localisation.description +=
            fmt::format("{} at scale {}: {}. ", methods[m], point->scale, value_text(row->summary.mean));
    }
  }
  localisation.from_zero = true;
  write_figure(html, localisation, methods);
}

void write_table(Html& html, const ShiftResult& shift) {
  const std::vector<std::string> methods = methods_of(shift);
  const auto scroll = html.in("div", {{"class", "scroll"}});
  const auto table = html.in("table");
  std::vector<Column> header = {
      {"Scale", true},       {"Cross entropy", true},  {"Softmax change", true}, {"\u2026 in float32", true},
      {"Binary loss", true}, {"Sigmoid change", true}, {"Top-1", true}};
  for (const std::string& method : methods) header.push_back({"GridPG " + method, true});
  write_header(html, header);
  const auto body = html.in("tbody");
  for (const ShiftPoint* point : ascending(shift)) {
    const auto row = html.in("tr");
    number_cell(html, fmt::format("{:g}", point->scale));
    number_cell(html, fmt::format("{:.6f}", point->scores.ce));
    number_cell(html, fmt::format("{:.1e}", point->scores.softmax_change));
    number_cell(html, fmt::format("{:.1e}", point->float32_softmax_change));
    number_cell(html, fmt::format("{:.6f}", point->scores.bce));
    number_cell(html, fmt::format("{:.2f}", point->scores.sigmoid_change));
    number_cell(html, percent_text(point->scores.top1));
    for (const std::string& method : methods) {
      const Row* found = row_of(shift, method, point->name);
      const auto half = found ? half_width(found->summary) : std::nullopt;
      number_cell(html,
                  !found ? "\u2013" : value_text(found->summary.mean) + (half ? " \u00b1 " + value_text(*half) : ""));
    }
  }
}

}  // namespace

void write_shift(Html& html, const Results& results, const std::filesystem::path& folder) {
  if (!results.shift || results.shift->points.empty()) return;
  const ShiftResult& shift = *results.shift;
  const auto section = html.in("section");
  html.element("h2", "Softmax shift");
  html.element(
      "p", {{"class", "note"}},
      fmt::format(
          "The vector scale \u00d7 {} \u00d7 u is added to the weights of every class of {}; {} is the mean length "
          "of its weights, u a vector of length 1 (direction: {}). Every logit of an image moves by the same "
          "amount, so that softmax and cross entropy stay as they are. Sigmoids, binary cross entropy and what "
          "counts as evidence for a class do not. Changes are the largest of any probability on the test images, in "
          "double precision; in float32, which the network computes in, large logits round the last digits away.",
          value_text(shift.mean_norm), shift.probe, value_text(shift.mean_norm), shift.direction));
  write_charts(html, results, shift);
  write_table(html, shift);
  if (shift.gallery.empty()) return;
  html.element("h3", "The same target at every scale");
  const GalleryItem& item = shift.gallery.front();
  html.element("p", {{"class", "note"}}, fmt::format("{}, {}", item.sample, item.target));
  write_maps(html, item, folder);
}

}  // namespace hp
