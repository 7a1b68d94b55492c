#include "runtime/file.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

TEST_CASE("file: the program, also where the dynamic loader was named") {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  if (program.filename().string().starts_with("ld-linux")) {
    CHECK(hp::program_file().filename() == "runtime_test");
    return;
  }
  CHECK(hp::program_file() == program);
  const char* loader = "/lib64/ld-linux-x86-64.so.2";
  if (!std::filesystem::exists(loader)) return;
  const std::string again =
      std::string(loader) + " " + program.string() + " --test-case='file: the program*' > /dev/null";
  CHECK(std::system(again.c_str()) == 0);
}
