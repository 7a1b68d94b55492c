// What a run says while it works: on a terminal in place, elsewhere in lines.
#include "tools/experiment/journal.h"

#include <doctest/doctest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr unsigned short columns = 60;

// What `action` writes to a terminal of 60 columns.
std::string on_terminal(const std::function<void()>& action) {
  winsize size{24, columns, 0, 0};
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  REQUIRE(child >= 0);
  if (child == 0) {
    action();
    _exit(0);
  }
  std::string text;
  char bytes[4096];
  for (ssize_t got = 0; (got = read(terminal, bytes, sizeof bytes)) > 0;) text.append(bytes, static_cast<size_t>(got));
  close(terminal);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  return text;
}

void wait_a_little() { usleep(120'000); }

// What the terminal shows in the end: it knows line ends, going back and up, and clearing what is below.
std::vector<std::string> screen_of(const std::string& text) {
  std::vector<std::string> lines(1);
  size_t row = 0, column = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      column = 0;
    } else if (text[i] == '\n') {
      if (++row == lines.size()) lines.emplace_back();
    } else if (text.compare(i, 2, "\033[") == 0) {
      const size_t end = text.find_first_of("AJ", i);
      REQUIRE(end != std::string::npos);
      if (text[end] == 'A') row -= static_cast<size_t>(std::atoi(text.c_str() + i + 2));
      if (text[end] == 'J') lines.resize(row + 1), lines[row].resize(column);
      i = end;
    } else {
      REQUIRE(column < columns);  // it would go on in the next row, and what is drawn over it would not
      lines[row].resize(std::max(lines[row].size(), column + 1), ' ');
      lines[row][column++] = text[i];
    }
  }
  return lines;
}

double rate_in(const std::string& line) {
  const size_t end = line.find("/s, ");
  if (end == std::string::npos) return -1;
  return std::atof(line.c_str() + line.rfind(' ', end) + 1);
}

}  // namespace

TEST_CASE("journal: on a terminal progress is drawn in place, no wider than it") {
  const auto work = [](Journal& journal) {
    journal.start("pre-training resnet", 1000, "images");
    for (int i = 0; i < 5; ++i) {
      journal.advance(100 * i, "epoch 1/30, rate 0.1, loss 2.3026, top-1 0.100\na line " + std::string(80, 'x'));
      wait_a_little();
    }
  };
  const std::vector<std::string> during = screen_of(on_terminal([&] {
    Journal journal("");
    work(journal);
    _exit(0);  // as it is seen in the middle of the work
  }));
  REQUIRE(during.size() == 3);
  CHECK(during[0].starts_with("pre-training resnet "));
  CHECK(contains(during[0], "/1000 images, "));
  CHECK(contains(during[0], "/s, "));
  CHECK(during[0].ends_with(" s left"));
  CHECK(during[1] == "  epoch 1/30, rate 0.1, loss 2.3026, top-1 0.100");
  CHECK(during[2] == "  a line " + std::string(47, 'x') + "...");
  const std::vector<std::string> after = screen_of(on_terminal([&] {
    Journal journal("");
    work(journal);
    journal.say("a line of its own");
    journal.finish();
  }));
  REQUIRE(after.size() == 3);
  CHECK(after[0] == "a line of its own");
  CHECK(after[1].starts_with("pre-training resnet: 400 images in "));
  CHECK(after[2].empty());
}

TEST_CASE("journal: what an earlier run left is no speed") {
  const std::string text = on_terminal([] {
    Journal journal("");
    journal.start("work", 1000, "");
    for (int i = 0; i < 4; ++i) {
      journal.advance(900 + i);
      wait_a_little();
    }
  });
  const size_t last = text.rfind("work ");
  REQUIRE(last != std::string::npos);
  const double rate = rate_in(text.substr(last));
  CHECK(rate > 0);
  CHECK(rate < 20);  // about 8 a second, and not 900
}

TEST_CASE("journal: in a file every line has its time and stands alone") {
  const TemporaryFolder folder;
  {
    Journal journal(folder / "run.log");
    journal.say("first");
    journal.warn("second");
    journal.start("work", 10, "images");
    journal.advance(10, "detail");  // too soon for a line where there is no terminal
    journal.finish();
  }
  const std::string log = read_file(folder / "run.log");
  CHECK(contains(log, " info first\n"));
  CHECK(contains(log, " warning warning: second\n"));
  CHECK(contains(log, " info work: 10 images in "));
  CHECK_FALSE(contains(log, "\r"));
  CHECK_FALSE(contains(log, "\033"));
}
