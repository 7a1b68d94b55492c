#include "tools/experiment/records.h"

#include <fmt/format.h>

#include "runtime/file.h"

namespace hp {

namespace {

// RFC 4180: quotes around texts that hold a comma, a quote or a line end; quotes are doubled.
std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::vector<Record>& RecordTable::of(const RecordKey& key) {
  for (auto& [known, records] : table_) {
    if (known == key) return records;
  }
  return table_.emplace_back(key, std::vector<Record>()).second;
}

std::vector<Row> RecordTable::rows(const Bootstrap& bootstrap) const {
  std::vector<Row> rows;
  for (const auto& [key, records] : table_) {
    if (!records.empty())
      rows.push_back({key.evaluation, key.metric, key.method, key.probe, summarise(records, bootstrap)});
  }
  return rows;
}

std::vector<Difference> RecordTable::differences(const Bootstrap& bootstrap) const {
  std::vector<Difference> differences;
  for (size_t later = 0; later < table_.size(); ++later) {
    for (size_t earlier = 0; earlier < later; ++earlier) {
      const auto& [a, records] = table_[later];
      const auto& [b, others] = table_[earlier];
      if (a.evaluation != b.evaluation || a.method != b.method || records.empty() || others.empty()) continue;
      const std::vector<Record> pairs = paired_differences(records, others);
      differences.push_back({a.evaluation, a.metric, a.method, a.probe, b.probe, summarise(pairs, bootstrap)});
    }
  }
  return differences;
}

void RecordTable::write(const std::filesystem::path& path) const {
  AtomicFile file(path);
  file.write("evaluation,metric,method,probe,sample,target,cell,value\n");
  for (const auto& [key, records] : table_) {
    const std::string prefix =
        fmt::format("{},{},{},{}", csv_text(key.evaluation), key.metric, csv_text(key.method), csv_text(key.probe));
    for (const Record& record : records) {
      file.write(fmt::format("{},{},{},{},{:.9g}\n", prefix, csv_text(record.sample), record.target, record.cell,
                             record.value));
    }
  }
  file.commit();
}

}  // namespace hp
