#include "tools/experiment/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "runtime/file.h"
#include "tools/report/findings.h"

namespace hp {
namespace {

using Json = nlohmann::ordered_json;

void write_file(const std::filesystem::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

// Numbers that are not finite become null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
Json number(const std::optional<double>& value) { return value ? number(*value) : Json(nullptr); }

Json numbers(const std::vector<double>& values) {
  Json array = Json::array();
  for (const double value : values) array.push_back(number(value));
  return array;
}

Json summary_json(const Summary& s) {
  const Json interval = s.interval ? Json{number(s.interval->low), number(s.interval->high)} : Json(nullptr);
  return {{"mean", number(s.mean)}, {"deviation", number(s.deviation)},
          {"interval", interval},   {"records", s.count},
          {"samples", s.samples},   {"dropped", s.dropped}};
}

Json probe_json(const ProbeResult& p) {
  return {{"name", p.name},
          {"head", p.head},
          {"loss", p.loss},
          {"learning_rate", number(p.learning_rate)},
          {"top1", number(p.top1)},
          {"top5", number(p.top5)},
          {"mean_average_precision", number(p.mean_average_precision)},
          {"average_precision", numbers(p.average_precision)},
          {"training_loss", numbers(p.training_loss)},
          {"training_top1", numbers(p.training_top1)}};
}

Json pretraining_json(const std::optional<PretrainingResult>& p) {
  if (!p) return nullptr;
  return {{"model", p->model},
          {"loss", numbers(p->loss)},
          {"top1", numbers(p->top1)},
          {"test_top1", numbers(p->test_top1)},
          {"learning_rate", numbers(p->learning_rate)}};
}

Json row_json(const Row& r) {
  Json row = {{"evaluation", r.evaluation}, {"metric", r.metric}, {"method", r.method}, {"probe", r.probe}};
  row.update(summary_json(r.summary));
  return row;
}

Json difference_json(const Difference& d) {
  Json row = {{"evaluation", d.evaluation},
              {"metric", d.metric},
              {"method", d.method},
              {"probe", d.probe},
              {"against", d.against}};
  row.update(summary_json(d.summary));
  row["significant"] = d.significant();
  return row;
}

Json item_json(const GalleryItem& item) {
  Json maps = Json::array();
  for (const GalleryMap& map : item.maps) {
    maps.push_back({{"method", map.method}, {"probe", map.probe}, {"picture", map.picture.generic_string()}});
  }
  return {{"evaluation", item.evaluation},
          {"sample", item.sample},
          {"target", item.target},
          {"input", item.input.generic_string()},
          {"maps", std::move(maps)}};
}

template <class Items, class Write>
Json array_of(const Items& items, Write write) {
  Json array = Json::array();
  for (const auto& item : items) array.push_back(write(item));
  return array;
}

Json point_json(const ShiftPoint& p) {
  return {{"scale", number(p.scale)},
          {"probe", p.name},
          {"ce", number(p.scores.ce)},
          {"bce", number(p.scores.bce)},
          {"top1", number(p.scores.top1)},
          {"softmax_change", number(p.scores.softmax_change)},
          {"float32_softmax_change", number(p.float32_softmax_change)},
          {"sigmoid_change", number(p.scores.sigmoid_change)}};
}

Json shift_json(const ShiftResult& s) {
  return {{"probe", s.probe},
          {"direction", s.direction},
          {"mean_norm", number(s.mean_norm)},
          {"points", array_of(s.points, point_json)},
          {"rows", array_of(s.rows, row_json)},
          {"gallery", array_of(s.gallery, item_json)}};
}

Json results_json(const Results& r) {
  Json facts = Json::object();
  for (const auto& [name, value] : r.facts) facts[name] = value;
  return {{"name", r.name},
          {"complete", r.complete},
          {"facts", std::move(facts)},
          {"notes", r.notes},
          {"classes", r.classes},
          {"pretraining", pretraining_json(r.pretraining)},
          {"probes", array_of(r.probes, probe_json)},
          {"rows", array_of(r.rows, row_json)},
          {"differences", array_of(r.differences, difference_json)},
          {"gallery", array_of(r.gallery, item_json)},
          {"shift", r.shift ? shift_json(*r.shift) : Json(nullptr)},
          {"experiment", Json(r.experiment)}};
}

// RFC 4180: fields with a separator, a quote or a line break are quoted, and quotes in them doubled.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

// The shortest text that reads back as the same number; "null" where there is none.
std::string csv_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

std::string results_csv(const Results& r) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  std::string text = "evaluation,metric,method,probe,mean,deviation,low,high,records,samples,dropped\r\n";
  const auto add = [&](const std::string& evaluation, const Row& row) {
    const Summary& s = row.summary;
    const Interval interval = s.interval.value_or(Interval{none, none});
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{}\r\n", csv_field(evaluation), csv_field(row.metric),
                        csv_field(row.method), csv_field(row.probe), csv_number(s.mean), csv_number(s.deviation),
                        csv_number(interval.low), csv_number(interval.high), s.count, s.samples, s.dropped);
  };
  for (const Row& row : r.rows) add(row.evaluation, row);
  if (!r.shift) return text;
  for (const ShiftPoint& p : r.shift->points) {
    const std::pair<const char*, double> scores[] = {
        {"ce_loss", p.scores.ce}, {"bce_loss", p.scores.bce}, {"top1", p.scores.top1}};
    for (const auto& [metric, value] : scores)
      text += fmt::format("shift,{},,{},{},null,null,null,0,0,0\r\n", metric, csv_field(p.name), csv_number(value));
  }
  for (const Row& row : r.shift->rows) add("shift", row);
  return text;
}

}  // namespace

void write_results(const std::filesystem::path& folder, const Results& results) {
  // Names come from files and may not be UTF-8: such bytes become U+FFFD.
  write_file(folder / "results.json", results_json(results).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  write_file(folder / "results.csv", results_csv(results));
}

}  // namespace hp
