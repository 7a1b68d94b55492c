// Reading a file through a mapping, and writing one so that nobody ever sees half of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace hp {

// The bytes of a file, mapped read-only. An empty file has no bytes. Move-only.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);  // throws hp::Error with the system's reason
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    MappedFile moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void swap(MappedFile& other) noexcept { std::swap(bytes_, other.bytes_); }

  std::span<const std::byte> bytes_;
};

// Collects writes in a temporary file beside `path`; commit() flushes it to the disk and renames it to `path`. Without
// a commit the temporary file is removed and `path` stays as it was. Every failure is an hp::Error that names the path
// and the reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  // Replaces bytes that were written already.
  void rewrite(size_t offset, std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void commit();

 private:
  std::filesystem::path path_;
  std::string temporary_;
  int descriptor_ = -1;
};

// The file that this code was loaded from: the program, also where it was started as an argument of the dynamic loader
// (then /proc/self/exe is the loader).
std::filesystem::path program_file();

// Removes the temporary files that killed processes left in `folder`: nobody has written to them for `age` (the process
// may live on another machine), and there is no such process here.
void remove_abandoned(const std::filesystem::path& folder, std::chrono::seconds age = std::chrono::hours(1));

}  // namespace hp
