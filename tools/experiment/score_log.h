// ScoreLog: what explaining and scoring found out, batch by batch, so that an interrupted run does not compute it
// again.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/experiment/records.h"

namespace hp {

// What one batch of maps of one method adds to the results.
struct ScoredBatch {
  std::vector<std::pair<RecordKey, std::vector<Record>>> scores;
  double negative_logits = 0;  // share of the logits below 0
  int64_t logits = 0;
  std::vector<double> completeness;
  std::vector<std::string> warnings;
  std::vector<GalleryItem> gallery;  // one map each
  std::vector<std::string> files;    // that were written for them, relative to the output folder
};

// A file of lines, each with the first 16 digits of the SHA-256 of what follows on it: first what the scores belong to,
// then one line of JSON a batch. A line is written at once when its batch is done: a killed process leaves complete
// lines, and at most the beginning of one more, which counts as not written.
class ScoreLog {
 public:
  // Opens the file for what `digest` names. One that belongs to something else is begun anew. Throws hp::Error that
  // names the file and the line where a line is damaged.
  ScoreLog(std::filesystem::path file, const std::string& digest);
  ~ScoreLog();
  ScoreLog(const ScoreLog&) = delete;
  ScoreLog& operator=(const ScoreLog&) = delete;

  // Whether there was one that belonged to something else.
  bool foreign() const { return foreign_; }
  // The batches of earlier runs, from the first on.
  const std::vector<ScoredBatch>& earlier() const { return earlier_; }
  // Takes only the first `count` of them as good; the next batch goes behind these.
  void keep(size_t count);
  // Throws hp::Error where the disk is full; what was appended before stays.
  void append(const ScoredBatch& batch);

 private:
  [[noreturn]] void damaged(size_t line, std::string_view reason) const;
  std::string_view content_of(std::string_view line, size_t number) const;  // checked
  void read(std::string_view text);

  std::filesystem::path file_;
  std::vector<ScoredBatch> earlier_;
  std::vector<int64_t> ends_;  // of the header's line and of every batch's, in bytes
  bool foreign_ = false;
  int descriptor_ = -1;
};

}  // namespace hp
