#include "tools/report/typography.h"

#include <cctype>

namespace hp {
namespace {

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

std::string typeset(std::string_view text) {
  std::string result;
  bool in_interval = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char before = i > 0 ? text[i - 1] : ' ', after = i + 1 < text.size() ? text[i + 1] : ' ';
    const bool number_starts = before == ' ' || before == '[' || before == '(';
    if (text[i] == '[') in_interval = true;
    if (text[i] == ']') in_interval = false;
    if (text[i] == '-' && number_starts && std::isdigit(static_cast<unsigned char>(after))) {
      result += "\u2212";
    } else if (text[i] == ' ' && (in_interval || after == '[' || after == '%')) {
      result += "\u00A0";
    } else {
      result += text[i];
    }
  }
  return result;
}

size_t characters(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += starts_character(c);
  return count;
}

std::string first_characters(std::string_view text, size_t count) {
  size_t seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (starts_character(text[i]) && ++seen > count) return std::string(text.substr(0, i));
  }
  return std::string(text);
}

}  // namespace hp
