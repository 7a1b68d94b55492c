// OutOfMemory: that memory could not be had, with how much it takes.
#pragma once

#include <cstddef>
#include <new>
#include <string>

namespace hp {

// Thrown by allocate_host and ArenaPool::take. `bytes` are needed at the same time: the block that could not be had and
// what its pool holds already.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(size_t bytes)
      : bytes_(bytes),
        text_("[memory] " + std::to_string(mebibytes()) + " MiB are needed at once, more than this process may have") {}

  size_t bytes() const { return bytes_; }
  size_t mebibytes() const { return (bytes_ >> 20) + 1; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  size_t bytes_;
  std::string text_;
};

}  // namespace hp
