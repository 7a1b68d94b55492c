// Journal: what a run says while it works: lines in a log file and on the terminal, and one line of progress.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

namespace spdlog {
class logger;
}

namespace hp {

double seconds_since(std::chrono::steady_clock::time_point start);

// Lines go to `run.log` in the output folder and to standard error. On a terminal progress is drawn in place, cut to
// its width; elsewhere it is a plain line every ten seconds.
class Journal {
 public:
  explicit Journal(const std::filesystem::path& log_file);  // an empty path: standard error alone
  ~Journal();

  void say(const std::string& line);
  void warn(const std::string& line);

  // Work that can be counted: "features (train) 1200/5000 images, 310.2/s, 12 s left". The first advance says where it
  // begins: what an earlier run left is no speed.
  void start(const std::string& what, int64_t total, const std::string& unit);
  // `detail` may have several lines, which stand one below the other on a terminal.
  void advance(int64_t done, const std::string& detail = "");
  void finish();  // says how long it took

 private:
  void draw(const std::string& text);
  void clear();  // what was drawn

  std::shared_ptr<spdlog::logger> logger_;
  bool terminal_;
  std::string what_, unit_;
  int64_t total_ = 0, done_ = 0, first_ = -1;
  size_t lines_drawn_ = 0;
  std::chrono::steady_clock::time_point started_, counted_, drawn_;
};

}  // namespace hp
