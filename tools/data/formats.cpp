#include "tools/data/formats.h"

#include <charconv>
#include <cmath>
#include <fstream>

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::error_code error;
  require(std::filesystem::is_regular_file(path, error), "[data] {}: no such file", path.string());
  std::ifstream file(path, std::ios::binary);
  require(file.good(), "[data] {}: cannot be opened; check its permissions", path.string());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) lines.push_back(std::move(line));
  }
  require(file.eof(), "[data] {}: cannot be read", path.string());
  return lines;
}

std::vector<std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  for (size_t at = 0; (at = line.find_first_not_of(" \t", at)) != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(" \t", at), line.size());
    words.emplace_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

double parse_number(std::string_view text, const std::string& where) {
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  const std::string_view digits = text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool good = error == std::errc() && end == digits.data() + digits.size() && std::isfinite(value);
  if (!good) fail("[data] {}: got {}; expected a number", where, printable(text));
  return value;
}

void require_folder(const std::filesystem::path& path, std::string_view what) {
  std::error_code error;
  require(std::filesystem::is_directory(path, error), "[data] {}: no such folder; expected {}", path.string(), what);
}

}  // namespace hp
