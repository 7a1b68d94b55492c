#include "tests/steady/allocations.h"

#include <atomic>
#include <cerrno>
#include <cstddef>

namespace {

std::atomic<int64_t> arrays = 0, large = 0;

}  // namespace

#if !defined(__SANITIZE_ADDRESS__)

namespace {

constexpr size_t large_bytes = 32 << 10;

void count_block(size_t bytes) {
  if (bytes >= large_bytes) ++large;
}

}  // namespace

// The C library lets a program replace these as long as it replaces them together, and keeps its own under other names.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
  count_block(bytes);
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  count_block(count * bytes);
  return __libc_calloc(count, bytes);
}

void* realloc(void* block, size_t bytes) {
  count_block(bytes);
  return __libc_realloc(block, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  ++arrays;
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** block, size_t alignment, size_t bytes) {
  count_block(bytes);
  *block = __libc_memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}
}
// NOLINTEND(bugprone-reserved-identifier)

namespace hp::test {
bool counts_allocations() { return true; }
}  // namespace hp::test

#else

namespace hp::test {
bool counts_allocations() { return false; }
}  // namespace hp::test

#endif

namespace hp::test {
Allocations allocations_so_far() { return {arrays, large}; }
}  // namespace hp::test
