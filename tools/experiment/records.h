// RecordTable: the scores of single maps, by evaluation, method and probe, in the order in which they were made.
#pragma once

#include <filesystem>
#include <vector>

#include "tools/experiment/results.h"

namespace hp {

struct RecordKey {
  std::string evaluation, metric, method, probe;
  bool operator==(const RecordKey&) const = default;
};

class RecordTable {
 public:
  std::vector<Record>& of(const RecordKey& key);

  std::vector<Row> rows(const Bootstrap& bootstrap) const;
  // For every evaluation and method each later probe minus each earlier one.
  std::vector<Difference> differences(const Bootstrap& bootstrap) const;
  // evaluation,metric,method,probe,sample,target,cell,value: one line a map. The file appears complete or not at all.
  void write(const std::filesystem::path& path) const;

 private:
  std::vector<std::pair<RecordKey, std::vector<Record>>> table_;
};

}  // namespace hp
