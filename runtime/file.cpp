#include "runtime/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "runtime/error.h"

namespace hp {
namespace {

// A file descriptor that closes itself.
struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  require(file.value >= 0, "[file] cannot open {}: {}", path.string(), std::strerror(errno));
  struct stat status{};
  require(::fstat(file.value, &status) == 0, "[file] cannot examine {}: {}", path.string(), std::strerror(errno));
  require(S_ISREG(status.st_mode), "[file] {} is not a regular file; got a {}; expected a file", path.string(),
          S_ISDIR(status.st_mode) ? "folder" : "device or pipe");
  if (status.st_size == 0) return;
  const auto size = static_cast<size_t>(status.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  require(data != MAP_FAILED, "[file] cannot map {}: {}", path.string(), std::strerror(errno));
  bytes_ = {static_cast<const std::byte*>(data), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  constexpr int attempts = 100;
  for (int attempt = 0; attempt < attempts && descriptor_ < 0; ++attempt) {
    temporary_ = fmt::format("{}.partial-{}-{}", path_.string(), ::getpid(), attempt);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) break;
  }
  require(descriptor_ >= 0, "[file] cannot write {}: {}", path_.string(), std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  constexpr size_t most_at_once = size_t{1} << 30;
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), most_at_once));
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "[file] cannot write {}: {}", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::rewrite(size_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "[file] cannot write {}: {}", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<size_t>(written);
  }
}

void AtomicFile::commit() {
  require(::fsync(descriptor_) == 0, "[file] cannot write {}: {}", path_.string(), std::strerror(errno));
  require(::rename(temporary_.c_str(), path_.c_str()) == 0, "[file] cannot replace {}: {}", path_.string(),
          std::strerror(errno));
  ::close(descriptor_);
  descriptor_ = -1;
}

std::filesystem::path program_file() {
  // address-address permissions offset device inode path
  const auto here = reinterpret_cast<uintptr_t>(&program_file);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    const char* last = line.data() + line.size();
    const auto first = std::from_chars(line.data(), last, begin, 16);
    if (first.ptr == last || std::from_chars(first.ptr + 1, last, end, 16).ec != std::errc()) continue;
    const size_t path = line.find('/');
    if (begin <= here && here < end && path != std::string::npos) return line.substr(path);
  }
  fail("[file] /proc/self/maps does not say where the program lies; expected Linux with /proc mounted");
}

void remove_abandoned(const std::filesystem::path& folder, std::chrono::seconds age) {
  constexpr std::string_view mark = ".partial-";
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = file.path().filename().string();
    const size_t found = name.rfind(mark);
    if (found == std::string::npos) continue;
    int process = 0;
    const char* begin = name.data() + found + mark.size();
    const auto [end, failure] = std::from_chars(begin, name.data() + name.size(), process);
    const bool ours = failure == std::errc() && end != name.data() + name.size() && *end == '-' && process > 0;
    const bool old = file.last_write_time(error) <= std::filesystem::file_time_type::clock::now() - age;
    if (ours && old && ::kill(process, 0) != 0 && errno == ESRCH) std::filesystem::remove(file.path(), error);
  }
}

}  // namespace hp
