// convert-weights as a user runs it: its exit code and what it printed.
#pragma once

#include <string>

#include "tests/files.h"

namespace hp::test {

struct Converted {
  int code = 0;
  std::string output, errors;
};

// `arguments` as in a shell; the output is kept in files of `folder`.
Converted convert_weights(const TemporaryFolder& folder, const std::string& arguments);

}  // namespace hp::test
