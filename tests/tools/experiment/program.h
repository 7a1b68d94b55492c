// hp-run as a user runs it: a child process with its exit code and what it printed.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hp::test {

struct Ran {
  int code = -1;  // -1: it was killed
  std::string output, errors;
  // The last line of the errors.
  std::string complaint() const;
};

// What the program may have.
struct Limits {
  rlim_t file_bytes = RLIM_INFINITY;  // of each file
  rlim_t data_bytes = RLIM_INFINITY;  // of anonymous memory
};

class Program {
 public:
  // Starts hp-run with its output in files in `folder`.
  Program(const std::filesystem::path& folder, std::vector<std::string> arguments, Limits limits = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  bool running();
  void interrupt() const;     // SIGINT, as Ctrl-C does
  void kill_at_once() const;  // SIGKILL
  Ran wait();

 private:
  std::filesystem::path folder_;
  pid_t child_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

void sleep_for(double seconds);

Ran hp_run(const std::filesystem::path& folder, std::vector<std::string> arguments);
// The experiment as a file in `folder`, with `folder`/out as the output folder unless `more` names another.
Ran hp_run(const std::filesystem::path& folder, const nlohmann::json& experiment, std::vector<std::string> more = {});

}  // namespace hp::test
