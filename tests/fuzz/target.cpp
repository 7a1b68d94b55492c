#include "tests/fuzz/target.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace hp::fuzz {

std::filesystem::path as_file(std::span<const uint8_t> bytes) {
  static const int descriptor = memfd_create("fuzz", MFD_CLOEXEC);
  const auto size = static_cast<ssize_t>(bytes.size());
  const bool written =
      descriptor >= 0 && ftruncate(descriptor, 0) == 0 && pwrite(descriptor, bytes.data(), bytes.size(), 0) == size;
  if (!written) std::abort();
  return fmt::format("/proc/self/fd/{}", descriptor);
}

}  // namespace hp::fuzz
