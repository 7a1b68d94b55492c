#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/report/chart.h"
#include "tools/report/findings.h"
#include "tools/report/sections.h"

namespace hp {
namespace {

using Score = std::optional<double> ProbeResult::*;
struct ScoreColumn {
  const char* title;
  Score score;
};

std::vector<ScoreColumn> scores_of(const std::vector<ProbeResult>& probes) {
  std::vector<ScoreColumn> columns;
  for (const ScoreColumn& column : {ScoreColumn{"Top-1", &ProbeResult::top1}, ScoreColumn{"Top-5", &ProbeResult::top5},
                                    ScoreColumn{"mAP", &ProbeResult::mean_average_precision}}) {
    const bool any =
        std::any_of(probes.begin(), probes.end(), [&](const ProbeResult& p) { return (p.*column.score).has_value(); });
    if (any) columns.push_back(column);
  }
  return columns;
}

std::string loss_words(const std::string& loss) {
  if (loss == "ce") return "cross entropy";
  if (loss == "bce") return "binary cross entropy";
  if (loss == "uo_bce") return "binary cross entropy, uniform off labels";
  return loss;
}

void write_scores(Html& html, const std::vector<ProbeResult>& probes) {
  const std::vector<ScoreColumn> scores = scores_of(probes);
  const auto scroll = html.in("div", {{"class", "scroll"}});
  const auto table = html.in("table");
  std::vector<Column> header = {{"Probe"}, {"Head"}, {"Loss"}, {"Rate", true}, {"Final loss", true}};
  for (const ScoreColumn& column : scores) header.push_back({column.title, true});
  write_header(html, header);
  const auto body = html.in("tbody");
  for (const ProbeResult& p : probes) {
    const auto row = html.in("tr");
    html.element("th", {{"scope", "row"}}, p.name);
    html.element("td", p.head);
    html.element("td", loss_words(p.loss));
    number_cell(html, rate_text(p.learning_rate));
    number_cell(html, p.training_loss.empty() ? "\u2013" : value_text(p.training_loss.back()));
    for (const ScoreColumn& column : scores)
      number_cell(html, p.*column.score ? percent_text(*(p.*column.score)) : "\u2013");
  }
}

void write_classes(Html& html, const Results& results) {
  size_t classes = 0;
  for (const ProbeResult& p : results.probes) classes = std::max(classes, p.average_precision.size());
  if (classes == 0) return;
  html.element("h3", "Average precision of each class");
  const auto scroll = html.in("div", {{"class", "scroll"}});
  const auto table = html.in("table");
  std::vector<Column> header = {{"Class"}};
  for (const ProbeResult& p : results.probes) header.push_back({p.name, true});
  write_header(html, header);
  const auto body = html.in("tbody");
  for (size_t c = 0; c < classes; ++c) {
    const auto row = html.in("tr");
    html.element("th", {{"scope", "row"}},
                 c < results.classes.size() ? results.classes[c] : fmt::format("class {}", c));
    for (const ProbeResult& p : results.probes) {
      number_cell(html, c < p.average_precision.size() ? percent_text(p.average_precision[c]) : "\u2013");
    }
  }
}

// The curves of one measure; false if no probe has any.
bool write_curves(Html& html, const Results& results, const std::string& title,
                  std::vector<double> ProbeResult::* measure) {
  CurveChart chart{title + " per epoch", "", {}};
  for (const ProbeResult& p : results.probes) {
    const std::vector<double>& values = p.*measure;
    if (std::none_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) continue;
    chart.curves.push_back({p.name, colour_of(results, p.name), values});
    chart.description += fmt::format("{}: {} after the first of {} epochs, {} after the last. ", p.name,
                                     value_text(values.front()), values.size(), value_text(values.back()));
  }
  if (chart.curves.empty()) return false;
  const auto figure = html.in("figure");
  html.element("figcaption", title);
  draw(html, chart);
  return true;
}

void write_training(Html& html, const Results& results) {
  std::vector<std::string> trained;
  for (const ProbeResult& p : results.probes) {
    if (!p.training_loss.empty() || !p.training_top1.empty()) trained.push_back(p.name);
  }
  if (trained.empty()) return;
  html.element("h3", "Training");
  write_legend(html, results, trained);
  const auto pair = html.in("div", {{"class", "pair"}});
  write_curves(html, results, "Loss on the training images", &ProbeResult::training_loss);
  write_curves(html, results, "Top-1 on the training images", &ProbeResult::training_top1);
}

}  // namespace

void write_pretraining(Html& html, const Results& results) {
  if (!results.pretraining || results.pretraining->loss.empty()) return;
  const PretrainingResult& p = *results.pretraining;
  const auto section = html.in("section");
  html.element("h2", "Pre-training");
  html.element(
      "p", {{"class", "note"}},
      fmt::format("{}, trained from scratch for {} epochs{}.", p.model, p.loss.size(),
                  p.test_top1.empty() ? "" : "; top-1 on the test images " + percent_text(p.test_top1.back())));
  const bool accuracy = !p.top1.empty();
  write_series(html, accuracy ? std::vector<std::string>{"training images", "test images"}
                              : std::vector<std::string>{"training images"});
  const auto pair = html.in("div", {{"class", "pair"}});
  const auto draw_figure = [&](const std::string& title, std::vector<Curve> curves) {
    CurveChart chart{title + " per epoch", "", std::move(curves)};
    for (const Curve& curve : chart.curves) {
      chart.description +=
          fmt::format("{}: {} after the first of {} epochs, {} after the last. ", curve.name,
                      value_text(curve.values.front()), curve.values.size(), value_text(curve.values.back()));
    }
    const auto figure = html.in("figure");
    html.element("figcaption", title);
    draw(html, chart);
  };
  draw_figure("Loss", {{"training", 0, p.loss}});
  if (accuracy) draw_figure("Top-1", {{"training", 0, p.top1}, {"test", 1, p.test_top1}});
  if (!p.learning_rate.empty()) draw_figure("Learning rate", {{"rate", 0, p.learning_rate}});
}

void write_probes(Html& html, const Results& results) {
  if (results.probes.empty()) return;
  const auto section = html.in("section");
  html.element("h2", "Probes");
  html.element("p", {{"class", "note"}},
               "Scores on the test images; rate is the learning rate. Losses of different kinds do not compare.");
  write_scores(html, results.probes);
  write_classes(html, results);
  write_training(html, results);
}

}  // namespace hp
