#include "tests/tools/experiment/program.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/files.h"

namespace hp::test {

namespace {

void redirect(const std::filesystem::path& file, int to) {
  const int from = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (from < 0 || dup2(from, to) < 0) _exit(126);
}

}  // namespace

void sleep_for(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

std::string Ran::complaint() const {
  std::string text = errors;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

Program::Program(const std::filesystem::path& folder, std::vector<std::string> arguments, Limits limits)
    : folder_(folder) {
  const char* elsewhere = std::getenv("HP_RUN");  // of tests that were moved after they were built
  arguments.insert(arguments.begin(), elsewhere ? elsewhere : HP_RUN);
  std::vector<char*> values;
  for (std::string& argument : arguments) values.push_back(argument.data());
  values.push_back(nullptr);
  const std::filesystem::path out = folder / "stdout", err = folder / "stderr";
  child_ = fork();
  REQUIRE(child_ >= 0);
  if (child_ == 0) {
    redirect(out, STDOUT_FILENO);
    redirect(err, STDERR_FILENO);
    const rlimit file{limits.file_bytes, limits.file_bytes}, data{limits.data_bytes, limits.data_bytes};
    if (setrlimit(RLIMIT_FSIZE, &file) != 0 || setrlimit(RLIMIT_DATA, &data) != 0) _exit(125);
    execv(values[0], values.data());
    _exit(127);
  }
}

Program::~Program() {
  if (!ended_) {
    kill(child_, SIGKILL);
    waitpid(child_, &status_, 0);
  }
}

bool Program::running() {
  if (!ended_) ended_ = waitpid(child_, &status_, WNOHANG) == child_;
  return !ended_;
}

void Program::interrupt() const {
  if (!ended_) kill(child_, SIGINT);
}

void Program::kill_at_once() const {
  if (!ended_) kill(child_, SIGKILL);
}

Ran Program::wait() {
  if (!ended_) waitpid(child_, &status_, 0);
  ended_ = true;
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -1, read_file(folder_ / "stdout"), read_file(folder_ / "stderr")};
}

Ran hp_run(const std::filesystem::path& folder, std::vector<std::string> arguments) {
  return Program(folder, std::move(arguments)).wait();
}

Ran hp_run(const std::filesystem::path& folder, const nlohmann::json& experiment, std::vector<std::string> more) {
  write_file(folder / "experiment.json", experiment.dump(2));
  std::vector<std::string> arguments{(folder / "experiment.json").string()};
  if (std::find(more.begin(), more.end(), "--output") == more.end())
    arguments.insert(arguments.end(), {"--output", (folder / "out").string()});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return hp_run(folder, std::move(arguments));
}

}  // namespace hp::test
