#include "tests/tools/checkpoints/mutations.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <vector>

#include "runtime/error.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tools/checkpoints/zip_archive.h"

namespace hp::test {
namespace {

size_t place_in(const std::string& file, std::mt19937& random) { return file.empty() ? 0 : random() % file.size(); }

// Numbers at which sizes, signs and products turn over.
uint64_t extreme(size_t size, std::mt19937& random) {
  const std::array<uint64_t, 14> values{0,
                                        1,
                                        2,
                                        0x7F,
                                        0xFF,
                                        0xFFFF,
                                        size - 1,
                                        size,
                                        size + 1,
                                        0x7FFF'FFFF,
                                        0x8000'0000,
                                        uint64_t{1} << 40,
                                        ~uint64_t{0} >> 1,
                                        ~uint64_t{0}};
  return values[random() % values.size()];
}

// Little-endian, 1 to 8 bytes, at `at`.
void set_integer(std::string& file, size_t at, size_t bytes, uint64_t value) {
  for (size_t i = 0; i < bytes && at + i < file.size(); ++i) file[at + i] = static_cast<char>(value >> (8 * i));
}

std::vector<size_t> places_of(std::string_view file, std::string_view mark) {
  std::vector<size_t> places;
  for (size_t at = file.find(mark); at != file.npos; at = file.find(mark, at + 1)) places.push_back(at);
  return places;
}

// What damages any file.
void damage_bytes(std::string& file, std::mt19937& random) {
  const size_t at = place_in(file, random);
  switch (random() % 7) {
    case 0:
      file[at] = static_cast<char>(random());
      break;
    case 1:
      file[at] ^= static_cast<char>(1U << random() % 8);
      break;
    case 2:
      file[at] = static_cast<char>(random() % 2 ? 0xFF : 0);
      break;
    case 3:
      file.insert(at, file.substr(place_in(file, random), random() % 64));
      break;
    case 4:
      file.erase(at, random() % 16);
      break;
    case 5:
      set_integer(file, at, size_t{1} << random() % 4, extreme(file.size(), random));
      break;
    default:
      if (random() % 4 == 0) file.resize(at);
  }
  if (file.empty()) file = "x";
}

// Opcodes of a pickle: lengths of texts and integers, nesting, a name that comes twice.
void damage_pickle(std::string& file, std::mt19937& random) {
  constexpr std::array<std::string_view, 7> with_integer{"X", "K", "M", "J", "\x8a", "q", "r"};
  const std::vector<size_t> texts = places_of(file, "X"), integers = places_of(file, with_integer[random() % 7]);
  switch (random() % 4) {
    case 0:
      if (!integers.empty())
        set_integer(file, integers[random() % integers.size()] + 1, size_t{1} << random() % 4,
                    extreme(file.size(), random));
      break;
    case 1: {
      constexpr std::array<std::string_view, 6> opens{"(", "]", "}", "}q\1", "](", ")\x85"};
      std::string nested;
      for (size_t depth = random() % 5000; depth > 0; --depth) nested += opens[random() % opens.size()];
      file.insert(place_in(file, random), nested);
      break;
    }
    case 2:  // an entry, from one text to a later one, again
      if (texts.size() > 1) {
        const size_t first = random() % (texts.size() - 1), last = std::min(texts.size() - 1, first + 1 + random() % 4);
        const std::string entry = file.substr(texts[first], texts[last] - texts[first]);
        for (size_t times = random() % 3 + 1; times > 0; --times) file.insert(texts[last], entry);
      }
      break;
    default:  // one name written over another
      if (texts.size() > 1)
        file.replace(texts[random() % texts.size()], 16, file.substr(texts[random() % texts.size()], 16));
  }
}

// Fields of the local headers, the directory and its end; a member's name written over another.
void damage_zip(std::string& file, std::mt19937& random) {
  constexpr std::array<std::string_view, 4> records{"PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6"};
  const std::vector<size_t> found = places_of(file, records[random() % records.size()]);
  if (found.empty()) return;
  const size_t record = found[random() % found.size()];
  if (random() % 4 == 0) {
    constexpr size_t name_at = 46;
    const std::vector<size_t> entries = places_of(file, "PK\1\2");
    if (entries.empty()) return;
    const size_t from = entries[random() % entries.size()], to = entries[random() % entries.size()];
    if (std::max(from, to) + name_at + 24 < file.size())
      file.replace(to + name_at, 24, file.substr(from + name_at, 24));
    return;
  }
  set_integer(file, record + 4 + random() % 44, random() % 2 ? 2 : 4, extreme(file.size(), random));
}

// The pickle damaged inside a sound archive.
std::string with_damaged_pickle(const std::string& file, std::mt19937& random) {
  try {
    const ZipArchive archive(std::as_bytes(std::span(file)));
    ZipSpec spec;
    for (const auto& [name, member] : archive.members()) {
      const std::vector<std::byte> bytes = archive.read(name);
      spec.members.emplace_back(name, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }
    std::sort(spec.members.begin(), spec.members.end());
    for (auto& [name, content] : spec.members) {
      if (!name.ends_with("data.pkl")) continue;
      for (uint32_t change = random() % 3 + 1; change > 0; --change)
        random() % 3 == 0 ? damage_bytes(content, random) : damage_pickle(content, random);
    }
    spec.deflate = random() % 4 == 0;
    return zip_file(spec);
  } catch (const Error&) {
    return file;
  }
}

// Runs of digits, entries that come twice, braces; the length in front is put right for half of them.
void damage_header(std::string& file, std::mt19937& random) {
  constexpr size_t length_bytes = 8;
  uint64_t length = 0;
  if (file.size() < length_bytes) return;
  std::copy_n(file.begin(), length_bytes, reinterpret_cast<char*>(&length));
  if (length == 0 || length > file.size() - length_bytes) return;
  std::string header = file.substr(length_bytes, length);
  switch (random() % 4) {
    case 0: {
      size_t digit = place_in(header, random);
      while (digit < header.size() && !std::isdigit(static_cast<unsigned char>(header[digit]))) ++digit;
      size_t end = digit;
      while (end < header.size() && std::isdigit(static_cast<unsigned char>(header[end]))) ++end;
      header.replace(digit, end - digit, std::to_string(extreme(file.size(), random)));
      break;
    }
    case 1: {  // from one entry's begin to its end, again
      const std::vector<size_t> ends = places_of(header, "},");
      if (ends.size() < 2) break;
      const size_t first = random() % (ends.size() - 1);
      header.insert(ends[first] + 2, header.substr(ends[first] + 2, ends[first + 1] - ends[first]));
      break;
    }
    case 2: {
      constexpr std::array<std::string_view, 5> opens{"{\"a\":", "[", "[[", "{", "\"\\u0000\":{"};
      std::string nested;
      for (size_t depth = random() % 5000; depth > 0; --depth) nested += opens[random() % opens.size()];
      header.insert(place_in(header, random), nested);
      break;
    }
    default:
      damage_bytes(header, random);
  }
  if (random() % 2 == 0) length = header.size();
  file = raw(length) + header + file.substr(std::min(file.size(), length_bytes + static_cast<size_t>(length)));
}

}  // namespace

std::string mutate(Container container, const std::string& original, std::mt19937& random) {
  if (container == Container::zip && random() % 2 == 0) return with_damaged_pickle(original, random);
  std::string file = original;
  for (uint32_t change = random() % 4 + 1; change > 0; --change) {
    if (random() % 2 == 0) {
      damage_bytes(file, random);
    } else if (container == Container::legacy_stream) {
      damage_pickle(file, random);
    } else if (container == Container::zip) {
      damage_zip(file, random);
    } else {
      damage_header(file, random);
    }
  }
  return file;
}

}  // namespace hp::test
