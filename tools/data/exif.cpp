#include "tools/data/exif.h"

#include <cstddef>
#include <optional>

namespace hp {
namespace {

// Integers of a TIFF structure in its own byte order; nothing outside the block is ever read.
class TiffReader {
 public:
  TiffReader(std::span<const uint8_t> block, bool little_endian) : block_(block), little_endian_(little_endian) {}

  std::optional<uint32_t> integer(size_t at, size_t bytes) const {
    if (at > block_.size() || bytes > block_.size() - at) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | block_[at + (little_endian_ ? bytes - 1 - i : i)];
    return value;
  }

 private:
  std::span<const uint8_t> block_;
  bool little_endian_;
};

constexpr uint32_t orientation_tag = 0x0112;
constexpr uint32_t type_short = 3;
constexpr uint32_t type_long = 4;
constexpr size_t entry_bytes = 12;  // tag, type (2 each), count, value (4 each)

}  // namespace

int exif_orientation(std::span<const uint8_t> block) {
  if (block.size() < 8 || block[0] != block[1] || (block[0] != 'I' && block[0] != 'M')) return 1;
  const TiffReader tiff(block, block[0] == 'I');
  if (tiff.integer(2, 2) != 42U) return 1;
  const size_t directory = *tiff.integer(4, 4);
  const size_t entries = tiff.integer(directory, 2).value_or(0);  // at most 65535
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * entry_bytes;
    const auto tag = tiff.integer(entry, 2);
    if (!tag) return 1;
    if (*tag != orientation_tag) continue;
    const auto type = tiff.integer(entry + 2, 2);
    if (tiff.integer(entry + 4, 4) != 1U || (type != type_short && type != type_long)) return 1;
    const uint32_t value = tiff.integer(entry + 8, type == type_short ? 2 : 4).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace hp
