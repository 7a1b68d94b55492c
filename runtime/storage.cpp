#include "runtime/storage.h"

#include <sys/mman.h>

#include <cstdlib>

#include "runtime/out_of_memory.h"

namespace hp {

namespace {

constexpr size_t cache_line = 64;
constexpr size_t huge_page = size_t{2} << 20;

void free_host(void* data, size_t) { std::free(data); }

}  // namespace

Storage allocate_host(size_t bytes) {
  // Padding to whole vectors lets kernels read, not write, past the end of a row without leaving the block.
  const size_t alignment = bytes >= huge_page ? huge_page : cache_line;
  const size_t padded = (bytes + cache_line + alignment - 1) / alignment * alignment;
  if (padded < bytes) throw OutOfMemory(bytes);
  void* data = std::aligned_alloc(alignment, padded);
  if (!data) throw OutOfMemory(bytes);
  if (alignment == huge_page) madvise(data, padded, MADV_HUGEPAGE);  // only a hint: failure changes speed alone
  return Storage(data, bytes, Device::cpu, free_host);
}

}  // namespace hp
