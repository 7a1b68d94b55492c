// Where the members of a zip archive lie in the file, for those that are stored as they are: libzip copies what it
// reads, and weights are most of the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace hp {

struct ZipPlace {
  std::string_view name;
  uint32_t checksum;                 // CRC-32 of the bytes
  std::span<const std::byte> bytes;  // nothing, without data, for a member that is packed or encrypted
};

// The central directory's entries in its order (APPNOTE.TXT 4.3.12, with Zip64); nothing where the file is not laid out
// as PyTorch and others write it. Every offset is checked; the checksum is not.
std::optional<std::vector<ZipPlace>> zip_places(std::span<const std::byte> file);

}  // namespace hp
