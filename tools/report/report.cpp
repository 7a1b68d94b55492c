#include "tools/report/report.h"

#include <fmt/format.h>

#include "runtime/file.h"
#include "tools/report/embedded_style.h"
#include "tools/report/findings.h"
#include "tools/report/html.h"
#include "tools/report/sections.h"
#include "tools/report/typography.h"

namespace hp {
namespace {

void write_head(Html& html, const Results& results) {
  const auto head = html.in("head");
  html.empty("meta", {{"charset", "utf-8"}});
  html.empty("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  html.empty("meta", {{"name", "color-scheme"}, {"content", "light dark"}});
  // Browsers refuse whatever is not in the page itself.
  html.empty("meta", {{"http-equiv", "Content-Security-Policy"},
                      {"content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}});
  html.element("title", results.name);
  const auto style = html.in("style");
  html.raw(embedded_report_style);
}

void write_title(Html& html, const Results& results) {
  const auto header = html.in("header");
  html.element("p", {{"class", "kind"}}, "Experiment report");
  html.element("h1", results.name);
  if (!results.complete) {
    const auto banner = html.in("p", {{"class", "banner"}, {"role", "status"}});
    html.element("strong", "Incomplete.");
    html.text(" The run has not ended, or was stopped. What follows is what was finished.");
  }
  if (results.facts.empty()) return;
  const auto list = html.in("dl", {{"class", "facts"}});
  for (const auto& [name, value] : results.facts) {
    const auto fact = html.in("div");
    html.element("dt", name);
    html.element("dd", value);
  }
}

void write_summary(Html& html, const Results& results) {
  const auto section = html.in("section", {{"class", "summary"}});
  html.element("h2", "Summary");
  if (results.rows.empty()) {
    html.element("p", {{"class", "lead"}}, "No evaluation has results.");
    return;
  }
  html.element("p", {{"class", "lead"}}, typeset(verdict(results)));
  const std::vector<Finding> said = findings(results);
  if (said.empty()) return;
  if (const std::vector<std::string> in_short = conclusions(results); !in_short.empty()) {
    html.element("h3", "In short: where the evidence lies, by GridPG and EPG together");
    const auto list = html.in("ul", {{"class", "conclusions"}});
    for (const std::string& sentence : in_short) html.element("li", typeset(sentence));
  }
  {
    const auto details = html.in("details");
    html.element("summary", fmt::format("Each evaluation: {} comparisons in words", said.size()));
    const auto list = html.in("ul");
    for (const Finding& finding : said) {
      html.element("li", {{"class", finding.significant ? "significant" : "open"}}, typeset(finding.text));
    }
  }
  html.element("p", {{"class", "note"}},
               "Differences are paired, map by map. Intervals are percentile bootstraps that resample whole images or "
               "grids; they hold for one comparison at a time and are not corrected for many.");
}

void write_notes(Html& html, const Results& results) {
  if (results.notes.empty()) return;
  const auto section = html.in("section");
  html.element("h2", "Notes");
  const auto list = html.in("ul");
  for (const std::string& note : results.notes) html.element("li", note);
}

void write_experiment(Html& html, const Results& results) {
  if (results.experiment.is_null()) return;
  const auto section = html.in("section");
  html.element("h2", "Experiment");
  const auto details = html.in("details");
  html.element("summary", "The resolved experiment file, with every default filled in");
  html.element("pre", results.experiment.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

void write_report(const std::filesystem::path& folder, const Results& results) {
  Html html;
  html.raw("<!DOCTYPE html>");
  {
    const auto page = html.in("html", {{"lang", "en"}});
    write_head(html, results);
    const auto body = html.in("body");
    const auto main = html.in("main");
    write_title(html, results);
    write_summary(html, results);
    write_pretraining(html, results);
    write_probes(html, results);
    write_evaluations(html, results);
    write_shift(html, results, folder);
    write_gallery(html, results, folder);
    write_notes(html, results);
    write_experiment(html, results);
  }
  AtomicFile file(folder / "report.html");
  file.write(html.page() + "\n");
  file.commit();
}

}  // namespace hp
