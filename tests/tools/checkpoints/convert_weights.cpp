#include "tests/tools/checkpoints/convert_weights.h"

#include <sys/wait.h>

#include <cstdlib>

namespace hp::test {

Converted convert_weights(const TemporaryFolder& folder, const std::string& arguments) {
  const std::string out = (folder / "stdout").string(), err = (folder / "stderr").string();
  const int status =
      std::system((std::string(HP_CONVERT_WEIGHTS) + " " + arguments + " >" + out + " 2>" + err).c_str());
  return {WEXITSTATUS(status), read_file(out), read_file(err)};
}

}  // namespace hp::test
