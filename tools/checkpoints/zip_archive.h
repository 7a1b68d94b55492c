// The members of a zip archive that lies in memory, read through its central directory by libzip.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

struct zip;

namespace hp {

struct ZipMember {
  uint64_t index;
  uint64_t bytes;  // unpacked; never more than the packed data can hold
  uint32_t checksum = 0;
  const std::byte* stored = nullptr;  // where it lies in the file as it is; nothing if it has to be unpacked
};

// Stored and deflated members; the checksum of each is verified when it is read. Throws hp::Error on a damaged archive,
// on two members of one name, on encryption, and on sizes that the file's length rules out.
class ZipArchive {
 public:
  explicit ZipArchive(std::span<const std::byte> file);  // `file` must outlive the archive

  const std::unordered_map<std::string, ZipMember>& members() const { return members_; }
  const ZipMember* find(const std::string& name) const;
  std::vector<std::byte> read(const std::string& name) const;  // throws if there is no such member
  // The member where it lies, its checksum compared; nothing if it has to be read.
  std::optional<std::span<const std::byte>> mapped(const std::string& name) const;

 private:
  struct Discard {
    void operator()(zip* archive) const;
  };

  std::unique_ptr<zip, Discard> archive_;
  std::unordered_map<std::string, ZipMember> members_;
};

}  // namespace hp
