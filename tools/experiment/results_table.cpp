#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "tools/experiment/results.h"
#include "tools/report/findings.h"
#include "tools/text/table.h"

namespace hp {
namespace {

constexpr size_t widest_name = 28;
constexpr size_t most_probes_in_sentences = 3;  // of more the pairs are too many to read about one by one

std::string plain_name(std::string_view text) { return plain(text, widest_name); }

// Words on lines of at most `widest_line` characters; the first is marked, all are indented.
std::string wrapped(const std::string& sentence, const std::string& mark) {
  std::string text, line = "  " + mark;
  const std::string indent(line.size(), ' ');
  bool fresh = true;
  for (size_t at = 0; at < sentence.size();) {
    size_t end = std::min(sentence.find(' ', at), sentence.size());
    // "(+0.123 [0.101, 0.145])" stays on one line.
    if (sentence[at] == '(' && end < sentence.size() && sentence[end + 1] == '[') {
      end = std::min(sentence.find(')', at), sentence.size());
      end = std::min(sentence.find(' ', end), sentence.size());
    }
    const std::string word = sentence.substr(at, end - at);
    if (!fresh && line.size() + 1 + word.size() > widest_line) {
      text += line + "\n";
      line = indent;
      fresh = true;
    }
    line += (fresh ? "" : " ") + word;
    fresh = false;
    at = end + 1;
  }
  return text + line + "\n";
}

std::string paragraph(const std::string& sentence, const std::string& mark = "") {
  return wrapped(plain(sentence, std::string::npos), mark);
}

using Score = std::optional<double> ProbeResult::*;

std::string probe_table(const std::vector<ProbeResult>& probes) {
  std::vector<std::pair<std::string, Score>> scores;
  const auto offer = [&](const char* title, Score score) {
    const bool any =
        std::any_of(probes.begin(), probes.end(), [&](const ProbeResult& p) { return (p.*score).has_value(); });
    if (any) scores.emplace_back(title, score);
  };
  offer("top-1", &ProbeResult::top1);
  offer("top-5", &ProbeResult::top5);
  offer("mAP", &ProbeResult::mean_average_precision);

  std::vector<std::string> header = {"probe", "head", "loss", "rate"};
  for (const auto& [title, score] : scores) header.push_back(title);
  TextTable table(header, 3);
  for (const ProbeResult& p : probes) {
    std::vector<std::string> row = {plain_name(p.name), plain_name(p.head), plain_name(p.loss),
                                    rate_text(p.learning_rate)};
    for (const auto& [title, score] : scores) row.push_back(p.*score ? percent_text(*(p.*score)) : "-");
    table.add(std::move(row));
  }
  return table.text();
}

std::string row_text(const Row* row) {
  if (row == nullptr) return "-";
  const std::optional<double> half = half_width(row->summary);
  return value_text(row->summary.mean) + (half ? " +-" + value_text(*half) : "");
}

std::string evaluation_table(const Results& results, const EvaluationNames& evaluation) {
  std::vector<std::string> header = {""};
  for (const std::string& probe : evaluation.probes) header.push_back(plain_name(probe));
  TextTable table(header);
  for (const std::string& method : evaluation.methods) {
    std::vector<std::string> line = {plain_name(method)};
    for (const std::string& probe : evaluation.probes) {
      line.push_back(row_text(find_row(results, evaluation, method, probe)));
    }
    table.add(std::move(line));
  }
  return table.text();
}

}  // namespace

std::string results_table(const Results& results) {
  std::string text = plain(results.name, widest_line) + "\n";
  if (!results.complete) text += "INCOMPLETE: what was finished so far\n";
  if (!results.probes.empty()) text += "\nProbes\n" + probe_table(results.probes);
  const bool few_pairs = results.probes.size() <= most_probes_in_sentences;
  const std::vector<Finding> said = few_pairs ? findings(results) : std::vector<Finding>();
  for (const EvaluationNames& evaluation : evaluations_of(results)) {
    const std::string title = plain(evaluation_title(evaluation.evaluation, evaluation.metric), 60);
    text += fmt::format("\n{}: mean +- half of the {} interval\n", title, confidence_text(results));
    text += evaluation_table(results, evaluation);
    for (const Finding& finding : said) {
      if (finding.evaluation == evaluation.evaluation && finding.significant) text += paragraph(finding.text, "* ");
    }
  }
  if (!results.notes.empty()) text += "\nNotes\n";
  for (const std::string& note : results.notes) text += paragraph(note, "- ");
  if (results.rows.empty()) return text;
  text += "\nIn short\n" + paragraph(verdict(results), "* ");
  for (const std::string& sentence : conclusions(results)) text += paragraph(sentence, "* ");
  if (!few_pairs) text += paragraph("Every difference with its interval: report.html and results.json.", "* ");
  return text;
}

}  // namespace hp
