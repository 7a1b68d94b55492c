#include "tools/report/sections.h"

#include <algorithm>

#include "tools/report/chart.h"
#include "tools/report/typography.h"

namespace hp {

size_t colour_of(const Results& results, std::string_view probe) {
  const auto found =
      std::find_if(results.probes.begin(), results.probes.end(), [&](const ProbeResult& p) { return p.name == probe; });
  return static_cast<size_t>(found - results.probes.begin());
}

void write_legend(Html& html, const Results& results, const std::vector<std::string>& probes,
                  const std::string& reference) {
  const auto list = html.in("ul", {{"class", "legend"}});
  for (const std::string& probe : probes) {
    const auto item = html.in("li");
    html.element("span", {{"class", "swatch " + series_class(colour_of(results, probe))}}, "");
    html.text(probe);
  }
  if (reference.empty()) return;
  const auto item = html.in("li");
  html.element("span", {{"class", "swatch dashed"}}, "");
  html.text(reference);
}

void write_series(Html& html, const std::vector<std::string>& names) {
  const auto legend = html.in("ul", {{"class", "legend"}});
  for (size_t i = 0; i < names.size(); ++i) {
    const auto entry = html.in("li");
    html.element("span", {{"class", "swatch " + series_class(i)}}, "");
    html.text(names[i]);
  }
}

void write_header(Html& html, const std::vector<Column>& columns) {
  const auto head = html.in("thead");
  const auto row = html.in("tr");
  for (const Column& column : columns) {
    html.element("th", {{"scope", "col"}, {"class", column.number ? "number" : "word"}}, column.title);
  }
}

void number_cell(Html& html, const std::string& text) { html.element("td", {{"class", "number"}}, typeset(text)); }

}  // namespace hp
