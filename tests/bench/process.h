// Child processes: for what can only be measured from outside, peak memory and the time from start to end.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace hp::bench {

struct ProcessResult {
  double seconds = 0;  // wall time from start to end
  std::string output;  // its standard output
};

// Runs a program to its end. Throws hp::Error if it cannot be started or ends with another status than 0.
ProcessResult run_process(const std::vector<std::string>& command);

double peak_memory();  // bytes of memory that this process held at most (VmHWM)

}  // namespace hp::bench
