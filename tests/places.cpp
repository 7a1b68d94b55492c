#include "tests/places.h"

namespace hp::test {

std::filesystem::path source_folder() { return HP_SOURCE_DIR; }

std::filesystem::path shared_folder() { return HP_SHARED_DIR; }

}  // namespace hp::test
