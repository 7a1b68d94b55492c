#include "tools/text/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace hp {

namespace {

constexpr size_t gap = 2;

}  // namespace

std::string plain(std::string_view text, size_t longest) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) continue;  // the rest of a UTF-8 character
    result += byte < 0x20 || byte >= 0x7F ? '?' : c;
  }
  if (result.size() <= longest) return result;
  const size_t tail = longest / 2 - 1;
  return result.substr(0, longest - tail - 2) + ".." + result.substr(result.size() - tail);
}

size_t TextTable::width(size_t column) const {
  size_t widest = 0;
  for (const auto& row : rows_) widest = std::max(widest, row[column].size());
  return widest;
}

std::string TextTable::cell(const std::string& text, size_t column) const {
  return column < words_ ? fmt::format("{:{}}{:<{}}", "", gap, text, width(column))
                         : fmt::format("{:{}}{:>{}}", "", gap, text, width(column));
}

std::string TextTable::text() const {
  const size_t columns = rows_[0].size();
  std::string text;
  for (size_t first = 1; first < columns;) {
    size_t last = first, used = gap + width(0);
    while (last < columns && (last == first || used + gap + width(last) <= widest_line)) used += gap + width(last++);
    if (first > 1) text += "\n";
    for (const auto& row : rows_) {
      std::string line = cell(row[0], 0);
      for (size_t i = first; i < last; ++i) line += cell(row[i], i);
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    first = last;
  }
  return text;
}

}  // namespace hp
