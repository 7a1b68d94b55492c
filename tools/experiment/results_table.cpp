#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "tools/experiment/results.h"
#include "tools/report/findings.h"

namespace hp {
namespace {

constexpr size_t widest_line = 100;
constexpr size_t widest_name = 28;
constexpr size_t gap = 2;

// Plain ASCII on one line: other characters become '?'. A long text loses its middle, since names tend to differ at
// their ends.
std::string plain(std::string_view text, size_t longest = widest_name) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) continue;  // the rest of a UTF-8 character
    result += byte < 0x20 || byte >= 0x7F ? '?' : c;
  }
  if (result.size() <= longest) return result;
  const size_t tail = longest / 2 - 1;
  return result.substr(0, longest - tail - 2) + ".." + result.substr(result.size() - tail);
}

// Cells as text; the first `words` columns to the left, the others, numbers, to the right. Columns that do not fit on a
// line go into a further block that repeats the first one.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header, size_t words = 1) : words_(words) { add(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  size_t width(size_t column) const {
    size_t widest = 0;
    for (const auto& row : rows_) widest = std::max(widest, row[column].size());
    return widest;
  }

  std::string cell(const std::string& text, size_t column) const {
    return column < words_ ? fmt::format("{:{}}{:<{}}", "", gap, text, width(column))
                           : fmt::format("{:{}}{:>{}}", "", gap, text, width(column));
  }

  size_t words_;
  std::vector<std::vector<std::string>> rows_;
};

std::string TextTable::text() const {
  const size_t columns = rows_[0].size();
  std::string text;
  for (size_t first = 1; first < columns;) {
    size_t last = first, used = gap + width(0);
    while (last < columns && (last == first || used + gap + width(last) <= widest_line)) used += gap + width(last++);
    if (first > 1) text += "\n";
    for (const auto& row : rows_) {
      std::string line = cell(row[0], 0);
      for (size_t i = first; i < last; ++i) line += cell(row[i], i);
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    first = last;
  }
  return text;
}

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
    std::vector<std::string> row = {plain(p.name), plain(p.head), plain(p.loss), rate_text(p.learning_rate)};
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
  for (const std::string& probe : evaluation.probes) header.push_back(plain(probe));
  TextTable table(header);
  for (const std::string& method : evaluation.methods) {
    std::vector<std::string> line = {plain(method)};
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
  const std::vector<Finding> said = findings(results);
  for (const EvaluationNames& evaluation : evaluations_of(results)) {
    const std::string title = plain(evaluation_title(evaluation.evaluation, evaluation.metric), 60);
    text += fmt::format("\n{}: mean +- half of the {} interval\n", title, confidence_text(results));
    text += evaluation_table(results, evaluation);
    for (const Finding& finding : said) {
      if (finding.evaluation == evaluation.evaluation && finding.significant) text += paragraph(finding.text, "* ");
    }
  }
  if (!results.rows.empty()) text += "\n" + paragraph(verdict(results));
  if (!results.notes.empty()) text += "\nNotes\n";
  for (const std::string& note : results.notes) text += paragraph(note, "- ");
  return text;
}

}  // namespace hp
