// The orientation tag: both byte orders, and blocks made to mislead.
#include "tools/data/exif.h"

#include "fixtures.h"

using namespace hp;
using namespace hp::test;

namespace {

struct Entry {
  uint32_t tag = 0x0112, type = 3, count = 1, value = 6;
};

struct Block {
  bool little_endian = false;
  std::vector<uint8_t> bytes;

  void put(uint32_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      bytes.push_back(static_cast<uint8_t>(value >> (8 * (little_endian ? i : size - 1 - i))));
    }
  }
};

std::vector<uint8_t> tiff(bool little_endian, const std::vector<Entry>& entries, uint32_t directory = 8) {
  Block block{little_endian, {}};
  block.bytes.assign(2, little_endian ? 'I' : 'M');
  block.put(42, 2);
  block.put(directory, 4);
  block.put(static_cast<uint32_t>(entries.size()), 2);
  for (const Entry& entry : entries) {
    block.put(entry.tag, 2);
    block.put(entry.type, 2);
    block.put(entry.count, 4);
    block.put(entry.value, entry.type == 3 ? 2 : 4);
    if (entry.type == 3) block.put(0, 2);
  }
  block.put(0, 4);
  return block.bytes;
}

}  // namespace

TEST_CASE("orientation is read in both byte orders, short or long, behind other entries") {
  for (const bool little_endian : {false, true}) {
    for (uint32_t value = 1; value <= 8; ++value) {
      CHECK(exif_orientation(tiff(little_endian, {{.tag = 0x010F, .type = 4}, {.value = value}})) ==
            static_cast<int>(value));
      CHECK(exif_orientation(tiff(little_endian, {{.type = 4, .value = value}})) == static_cast<int>(value));
    }
  }
}

TEST_CASE("absent and senseless orientations mean upright") {
  CHECK(exif_orientation({}) == 1);
  CHECK(exif_orientation(tiff(true, {})) == 1);
  CHECK(exif_orientation(tiff(true, {{.tag = 0x0110}})) == 1);
  for (const uint32_t value : {0U, 9U, 65535U}) CHECK(exif_orientation(tiff(false, {{.value = value}})) == 1);
  CHECK(exif_orientation(tiff(false, {{.type = 4, .value = 0x80000006U}})) == 1);
  CHECK(exif_orientation(tiff(false, {{.type = 2}})) == 1);
  CHECK(exif_orientation(tiff(false, {{.count = 2}})) == 1);
  CHECK(exif_orientation(tiff(false, {{.count = 0xFFFFFFFFU}})) == 1);
}

TEST_CASE("a directory outside the block is not followed") {
  for (const uint32_t directory : {0U, 20U, 100U, 0x7FFFFFFFU, 0xFFFFFFFEU, 0xFFFFFFFFU}) {
    CHECK(exif_orientation(tiff(true, {{}}, directory)) == 1);
  }
}

TEST_CASE("every shortened block means upright or what it says") {
  const auto block = tiff(false, {{.tag = 0x010F, .type = 4}, {}});
  for (size_t length = 0; length <= block.size(); ++length) {
    const std::vector<uint8_t> part(block.begin(),
                                    block.begin() + static_cast<ptrdiff_t>(length));  // its own end for the sanitizer
    CHECK(exif_orientation(part) == (length >= 32 ? 6 : 1));
  }
}

TEST_CASE("a picture with a hostile block still decodes, upright") {
  const auto original = read_bytes(golden_images / "exif_6.jpg");
  const Image upright = decode_image(golden_images / "exif_1.jpg");
  const std::string mark = "Exif";
  const auto at = std::search(original.begin(), original.end(), mark.begin(), mark.end());
  REQUIRE(at != original.end());
  const auto header = static_cast<size_t>(at - original.begin()) + 6;
  auto hostile = original;
  for (size_t i = 0; i < 4; ++i) hostile[header + 4 + i] = 0xFF;  // the directory's place
  CHECK(distance(decode_image(hostile, "hostile"), upright) == 0);
  hostile = original;
  for (size_t i = 0; i < 2; ++i) hostile[header + 8 + i] = 0xFF;  // 65535 entries; the real one comes among the first
  CHECK(decode_image(hostile, "hostile").pixels.size() == upright.pixels.size());
}
