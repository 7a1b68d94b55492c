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
};

// Stored and deflated members; the checksum of each is verified when it is read. Throws hp::Error on a damaged archive,
// on two members of one name, on encryption, and on sizes that the file's length rules out.
class ZipArchive {
 public:
  explicit ZipArchive(std::span<const std::byte> file);  // `file` must outlive the archive

  const std::unordered_map<std::string, ZipMember>& members() const { return members_; }
  const ZipMember* find(const std::string& name) const;
  std::vector<std::byte> read(const std::string& name) const;  // throws if there is no such member

 private:
  struct Discard {
    void operator()(zip* archive) const;
  };

  std::unique_ptr<zip, Discard> archive_;
  std::unordered_map<std::string, ZipMember> members_;
};

}  // namespace hp
