#include "tools/checkpoints/zip_directory.h"

#include <algorithm>
#include <cstring>

namespace hp {
namespace {

// Fields of a record, little-endian, at their offsets. Reading beyond the end makes it broken.
class Record {
 public:
  Record(std::span<const std::byte> file, uint64_t offset) : file_(file), offset_(offset) {}

  template <class T>
  uint64_t at(uint64_t field) {
    T value{};
    if (const auto bytes = part(field, sizeof(T)); !bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  std::span<const std::byte> part(uint64_t field, uint64_t count) {
    const bool inside =
        offset_ <= file_.size() && field <= file_.size() - offset_ && count <= file_.size() - offset_ - field;
    broken_ = broken_ || !inside;
    return inside ? file_.subspan(offset_ + field, count) : std::span<const std::byte>();
  }
  bool is(uint32_t signature) { return at<uint32_t>(0) == signature && !broken_; }
  bool broken() const { return broken_; }

 private:
  std::span<const std::byte> file_;
  uint64_t offset_;
  bool broken_ = false;
};

constexpr uint32_t end_mark = 0x06054b50, end64_mark = 0x06064b50, locator_mark = 0x07064b50, entry_mark = 0x02014b50,
                   local_mark = 0x04034b50;
constexpr uint64_t end_bytes = 22, locator_bytes = 20, entry_bytes = 46, local_bytes = 30;
constexpr uint64_t in_zip64 = 0xFFFFFFFF;

struct Directory {
  uint64_t offset = 0, count = 0;
};

std::optional<Directory> find_directory(std::span<const std::byte> file) {
  constexpr uint64_t longest_comment = 0xFFFF;
  for (uint64_t back = end_bytes; back <= std::min<uint64_t>(file.size(), end_bytes + longest_comment); ++back) {
    Record end(file, file.size() - back);
    if (!end.is(end_mark) || end.at<uint16_t>(20) != back - end_bytes) continue;
    Directory directory{end.at<uint32_t>(16), end.at<uint16_t>(10)};
    if (file.size() - back >= locator_bytes) {
      Record locator(file, file.size() - back - locator_bytes);
      Record end64(file, locator.is(locator_mark) ? locator.at<uint64_t>(8) : file.size());
      if (end64.is(end64_mark)) directory = {end64.at<uint64_t>(48), end64.at<uint64_t>(32)};
    }
    return directory;
  }
  return std::nullopt;
}

struct Extents {
  uint64_t size, packed, offset;
};

// Sizes that do not fit into 32 bits stand in an extra field, each only where its place says so.
bool read_zip64(Record& entry, uint64_t name_bytes, Extents& extents) {
  if (extents.size != in_zip64 && extents.packed != in_zip64 && extents.offset != in_zip64) return true;
  const uint64_t begin = entry_bytes + name_bytes, end = begin + entry.at<uint16_t>(30);
  for (uint64_t at = begin; at + 4 <= end;) {
    const uint64_t id = entry.at<uint16_t>(at), length = entry.at<uint16_t>(at + 2);
    uint64_t field = at + 4;
    if (id == 1) {
      for (uint64_t* extent : {&extents.size, &extents.packed, &extents.offset}) {
        if (*extent != in_zip64) continue;
        if (field + 8 > at + 4 + length) return false;
        *extent = entry.at<uint64_t>(field);
        field += 8;
      }
      return !entry.broken();
    }
    at += 4 + length;
  }
  return false;
}

}  // namespace

std::optional<std::vector<ZipPlace>> zip_places(std::span<const std::byte> file) {
  const std::optional<Directory> directory = find_directory(file);
  if (!directory || directory->count > file.size() / entry_bytes) return std::nullopt;
  std::vector<ZipPlace> places;
  uint64_t offset = directory->offset;
  for (uint64_t i = 0; i < directory->count; ++i) {
    Record entry(file, offset);
    if (!entry.is(entry_mark)) return std::nullopt;
    const uint64_t name_bytes = entry.at<uint16_t>(28);
    const std::span<const std::byte> name = entry.part(entry_bytes, name_bytes);
    Extents extents{entry.at<uint32_t>(24), entry.at<uint32_t>(20), entry.at<uint32_t>(42)};
    const bool plain = entry.at<uint16_t>(10) == 0 && (entry.at<uint16_t>(8) & 1) == 0;
    ZipPlace place{
        {reinterpret_cast<const char*>(name.data()), name.size()}, static_cast<uint32_t>(entry.at<uint32_t>(16)), {}};
    if (entry.broken() || !read_zip64(entry, name_bytes, extents)) return std::nullopt;
    if (plain && extents.size == extents.packed) {
      Record local(file, extents.offset);
      if (!local.is(local_mark)) return std::nullopt;
      place.bytes = local.part(local_bytes + local.at<uint16_t>(26) + local.at<uint16_t>(28), extents.size);
      if (local.broken()) return std::nullopt;
    }
    places.push_back(place);
    offset += entry_bytes + name_bytes + entry.at<uint16_t>(30) + entry.at<uint16_t>(32);
  }
  return places;
}

}  // namespace hp
