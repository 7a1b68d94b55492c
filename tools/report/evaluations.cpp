#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/report/chart.h"
#include "tools/report/findings.h"
#include "tools/report/sections.h"
#include "tools/report/typography.h"

namespace hp {
namespace {

// What a map without any preference scores: one cell's share of a grid.
std::optional<double> chance_of(const Results& results, const EvaluationNames& names) {
  if (metric_words(names.metric).title != "GridPG" || !results.experiment.is_object()) return std::nullopt;
  const auto evaluations = results.experiment.find("evaluations");
  if (evaluations == results.experiment.end() || !evaluations->is_array()) return std::nullopt;
  for (const nlohmann::json& e : *evaluations) {
    if (!e.is_object() || !e.contains("cells") || !e["cells"].is_number()) continue;
    const auto cells = e["cells"].get<double>();
    const nlohmann::json& name = e.contains("name") ? e["name"] : e.value("metric", nlohmann::json());
    if (name == names.evaluation && cells > 0) return 1 / (cells * cells);
  }
  return std::nullopt;
}

BarChart bar_chart(const Results& results, const EvaluationNames& names) {
  BarChart chart;
  chart.title = fmt::format("{}: mean per method and probe", evaluation_title(names.evaluation, names.metric));
  chart.groups = names.methods;
  chart.series = names.probes;
  for (const std::string& probe : names.probes) chart.colours.push_back(colour_of(results, probe));
  for (const std::string& method : names.methods) {
    std::vector<Bar>& bars = chart.bars.emplace_back();
    for (const std::string& probe : names.probes) {
      const Row* row = find_row(results, names, method, probe);
      bars.push_back(row == nullptr ? Bar{NAN, {}} : Bar{row->summary.mean, row->summary.interval});
      if (row == nullptr) continue;
      chart.description += fmt::format("{}, {}: {}. ", method, probe, value_text(row->summary.mean));
    }
  }
  if (const auto chance = chance_of(results, names)) {
    chart.reference = {*chance, fmt::format("a map without preference: {}", value_text(*chance))};
  }
  return chart;
}

void write_chart(Html& html, const Results& results, const EvaluationNames& names) {
  const BarChart chart = bar_chart(results, names);
  const auto figure = html.in("figure");
  write_legend(html, results, names.probes, chart.reference ? chart.reference->label : "");
  {
    const auto scroll = html.in("div", {{"class", "scroll"}});
    draw(html, chart);
  }
  html.element("figcaption", fmt::format("Mean with its {} bootstrap interval.", confidence_text(results)));
}

void write_row(Html& html, const Results& results, const Row& row, size_t method_rows, bool first) {
  const auto line = html.in("tr", {{"class", first ? "first" : "more"}});
  if (first) html.element("th", {{"scope", "rowgroup"}, {"rowspan", std::to_string(method_rows)}}, row.method);
  {
    const auto cell = html.in("td");
    html.element("span", {{"class", "swatch " + series_class(colour_of(results, row.probe))}}, "");
    html.text(row.probe);
  }
  const Summary& s = row.summary;
  html.element("td", {{"class", "number strong"}}, typeset(value_text(s.mean)));
  number_cell(html, s.interval ? interval_text(*s.interval) : "\u2013");
  number_cell(html, value_text(s.deviation));
  number_cell(html, std::to_string(s.count));
  number_cell(html, std::to_string(s.samples));
  number_cell(html, std::to_string(s.dropped));
}

void write_means(Html& html, const Results& results, const EvaluationNames& names) {
  const auto scroll = html.in("div", {{"class", "scroll"}});
  const auto table = html.in("table");
  write_header(html, {{"Method"},
                      {"Probe"},
                      {"Mean", true},
                      {confidence_text(results) + " interval", true},
                      {"Deviation", true},
                      {"Maps", true},
                      {"Samples", true},
                      {"Dropped", true}});
  const auto body = html.in("tbody");
  for (const std::string& method : names.methods) {
    std::vector<const Row*> rows;
    for (const std::string& probe : names.probes) {
      if (const Row* row = find_row(results, names, method, probe)) rows.push_back(row);
    }
    for (const Row* row : rows) write_row(html, results, *row, rows.size(), row == rows.front());
  }
}

std::vector<const Difference*> differences_of(const Results& results, const EvaluationNames& names) {
  std::vector<const Difference*> found;
  for (const std::string& method : names.methods) {
    for (const Difference& d : results.differences) {
      if (d.evaluation == names.evaluation && d.metric == names.metric && d.method == method) found.push_back(&d);
    }
  }
  return found;
}

Axis common_axis(const std::vector<const Difference*>& differences) {
  std::vector<double> values;
  for (const Difference* d : differences) {
    values.push_back(d->summary.mean);
    if (d->summary.interval) values.insert(values.end(), {d->summary.interval->low, d->summary.interval->high});
  }
  return Axis::around(values, true);
}

void write_difference(Html& html, const Difference& d, const Axis& axis, size_t method_rows, bool first) {
  const std::string position = first ? "first" : "more";
  const auto line = html.in("tr", {{"class", position + (d.significant() ? " significant" : " open")}});
  if (first) html.element("th", {{"scope", "rowgroup"}, {"rowspan", std::to_string(method_rows)}}, d.method);
  {
    const auto cell = html.in("td");
    html.text(d.probe);
    html.element("span", {{"class", "against"}}, " \u2212 ");
    html.text(d.against);
  }
  {
    const auto cell = html.in("td", {{"class", "number strong"}});
    html.text(typeset(signed_text(d.summary.mean)));
    html.element("span", {{"class", "mark"}}, d.significant() ? "*" : "");
  }
  number_cell(html, d.summary.interval ? interval_text(*d.summary.interval) : "\u2013");
  number_cell(html, std::to_string(d.summary.count));
  const auto cell = html.in("td", {{"class", "plot"}});
  draw_interval(html, axis, d.summary, d.significant());
}

void write_differences(Html& html, const Results& results, const EvaluationNames& names) {
  const std::vector<const Difference*> differences = differences_of(results, names);
  if (differences.empty()) return;
  html.element("h3", "Paired differences");
  html.element("p", {{"class", "note"}},
               typeset(fmt::format("* significant: the {} interval excludes 0.", confidence_text(results))));
  const Axis axis = common_axis(differences);
  const auto scroll = html.in("div", {{"class", "scroll"}});
  const auto table = html.in("table", {{"class", "differences"}});
  write_header(html, {{"Method"},
                      {"Probes"},
                      {"Difference", true},
                      {confidence_text(results) + " interval", true},
                      {"Pairs", true},
                      {typeset(fmt::format("from {} to {}", axis.label(axis.low), axis.label(axis.high)))}});
  const auto body = html.in("tbody");
  for (auto d = differences.begin(); d != differences.end();) {
    const auto next =
        std::find_if(d, differences.end(), [&](const Difference* e) { return e->method != (*d)->method; });
    const auto first = d;
    for (; d != next; ++d) write_difference(html, **d, axis, static_cast<size_t>(next - first), d == first);
  }
}

}  // namespace

void write_evaluations(Html& html, const Results& results) {
  for (const EvaluationNames& names : evaluations_of(results)) {
    const auto section = html.in("section");
    html.element("h2", evaluation_title(names.evaluation, names.metric));
    const std::string_view meaning = metric_words(names.metric).meaning;
    if (!meaning.empty()) html.element("p", {{"class", "note"}}, meaning);
    write_chart(html, results, names);
    write_means(html, results, names);
    write_differences(html, results, names);
  }
}

}  // namespace hp
