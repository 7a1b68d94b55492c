#include "tests/places.h"

#include <cstdlib>

namespace hp::test {

// Tests that were moved after they were built are told by the environment.
std::filesystem::path source_folder() {
  const char* elsewhere = std::getenv("HP_SOURCE_DIR");
  return elsewhere ? elsewhere : HP_SOURCE_DIR;
}

std::filesystem::path shared_folder() { return HP_SHARED_DIR; }

}  // namespace hp::test
