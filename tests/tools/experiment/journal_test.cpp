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

// The texts that were drawn in place, one over the other.
std::vector<std::string> drawn(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = text.find('\r'); begin != std::string::npos; begin = text.find('\r', begin + 1)) {
    const size_t end = text.find("\033[K", begin);
    if (end != std::string::npos && end > begin + 1) lines.push_back(text.substr(begin + 1, end - begin - 1));
  }
  return lines;
}

double rate_in(const std::string& line) {
  const size_t end = line.find("/s, ");
  if (end == std::string::npos) return -1;
  return std::atof(line.c_str() + line.rfind(' ', end) + 1);
}

}  // namespace

TEST_CASE("journal: on a terminal progress is one line in place, no wider than it") {
  const std::string text = on_terminal([] {
    Journal journal("");
    journal.start("pre-training resnet", 1000, "images");
    for (int i = 0; i < 5; ++i) {
      journal.advance(100 * i, "epoch 1/30, rate 0.1, loss 2.3026, top-1 0.100");
      wait_a_little();
    }
    journal.say("a line of its own");
    journal.finish();
  });
  const std::vector<std::string> lines = drawn(text);
  REQUIRE(lines.size() >= 3);
  for (const std::string& line : lines) {
    CAPTURE(line);
    CHECK(line.size() < columns);
    CHECK(line.starts_with("pre-training resnet "));
  }
  CHECK(contains(lines.back(), "/1000 images, "));
  CHECK(contains(lines.back(), " left, epoch"));
  CHECK(lines.back().ends_with("..."));
  CHECK(contains(text, "\r\033[Ka line of its own"));
  CHECK(contains(text, "pre-training resnet: 400 images in "));
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
  const std::vector<std::string> lines = drawn(text);
  REQUIRE(lines.size() >= 2);
  CHECK(rate_in(lines.back()) > 0);
  CHECK(rate_in(lines.back()) < 20);  // about 8 a second, and not 900
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
