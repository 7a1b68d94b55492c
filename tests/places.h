// Where tests find the repository and the real data, which may be absent.
#pragma once

#include <filesystem>

namespace hp::test {

std::filesystem::path source_folder();
std::filesystem::path shared_folder();

}  // namespace hp::test
