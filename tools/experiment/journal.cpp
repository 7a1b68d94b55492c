#include "tools/experiment/journal.h"

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace hp {

namespace {

std::string duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

// Characters of a line that leaves the cursor on it.
size_t terminal_width() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 8;
  return known ? size.ws_col - size_t{1} : 79;
}

// From the end of the last of some lines to the first one's beginning, and nothing below it.
std::string back_to_top(size_t lines) { return lines > 1 ? fmt::format("\r\033[{}A\033[J", lines - 1) : "\r\033[J"; }

std::string with_line_ends(std::string text, const std::string& line_end) {
  for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + line_end.size()))
    text.replace(at, 1, line_end);
  return text;
}

}  // namespace

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Journal::Journal(const std::filesystem::path& log_file) : terminal_(isatty(STDERR_FILENO) == 1) {
  auto console = std::make_shared<spdlog::sinks::stderr_sink_st>();
  console->set_pattern("%v");
  std::vector<spdlog::sink_ptr> sinks{console};
  if (!log_file.empty()) {
    auto file = std::make_shared<spdlog::sinks::basic_file_sink_st>(log_file.string());
    file->set_pattern("%Y-%m-%d %H:%M:%S %l %v");
    sinks.push_back(file);
  }
  logger_ = std::make_shared<spdlog::logger>("run", sinks.begin(), sinks.end());
  logger_->flush_on(spdlog::level::info);
}

Journal::~Journal() { clear(); }

void Journal::clear() {
  if (lines_drawn_ > 0) std::fputs(back_to_top(lines_drawn_).c_str(), stderr);
  lines_drawn_ = 0;
}

void Journal::draw(const std::string& text) {
  std::string all = lines_drawn_ > 0 ? back_to_top(lines_drawn_) : "";
  const size_t width = terminal_width();
  lines_drawn_ = 0;
  for (size_t begin = 0; begin <= text.size(); ++lines_drawn_) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.size() > width) line = line.substr(0, width - 3) + "...";
    all += (begin > 0 ? "\n" : "") + line;
    begin = end + 1;
  }
  std::fputs(all.c_str(), stderr);
}

void Journal::say(const std::string& line) {
  clear();
  logger_->info(line);
}

void Journal::warn(const std::string& line) {
  clear();
  logger_->warn("warning: " + line);
}

void Journal::start(const std::string& what, int64_t total, const std::string& unit) {
  what_ = what, unit_ = unit, total_ = total, done_ = 0, first_ = -1;
  started_ = drawn_ = std::chrono::steady_clock::now();
}

void Journal::advance(int64_t done, const std::string& detail) {
  if (first_ < 0) {
    first_ = done;
    counted_ = std::chrono::steady_clock::now();
  }
  done_ = done;
  if (seconds_since(drawn_) < (terminal_ ? 0.1 : 10.0)) return;
  drawn_ = std::chrono::steady_clock::now();
  std::string line = fmt::format("{} {}/{} {}", what_, done, total_, unit_);
  const double rate = static_cast<double>(done - first_) / std::max(seconds_since(counted_), 1e-9);
  if (done > first_)
    line += fmt::format(", {:.1f}/s, {} left", rate, duration(static_cast<double>(total_ - done) / rate));
  if (terminal_) {
    draw(detail.empty() ? line : line + "\n  " + with_line_ends(detail, "\n  "));
  } else {
    logger_->info(detail.empty() ? line : line + ", " + with_line_ends(detail, ", "));
  }
}

void Journal::finish() {
  const double elapsed = seconds_since(started_);
  say(fmt::format("{}: {} {} in {:.1f} s", what_, done_, unit_, elapsed));
}

}  // namespace hp
