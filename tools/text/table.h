// Tables for terminals: aligned columns of plain ASCII that fit a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hp {

inline constexpr size_t widest_line = 100;

// Plain ASCII on one line: other characters become '?'. A text longer than `longest` loses its middle, since names tend
// to differ at their ends.
std::string plain(std::string_view text, size_t longest);

// Cells as text; the first `words` columns to the left, the others, numbers, to the right. Columns that do not fit on a
// line go into a further block that repeats the first one. Two blanks stand before each column.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header, size_t words = 1) : words_(words) { add(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  size_t width(size_t column) const;
  std::string cell(const std::string& text, size_t column) const;

  size_t words_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace hp
