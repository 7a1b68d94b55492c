#include "tools/report/html.h"

#include <cstdint>

namespace hp {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the UTF-8 character that `text` starts with; 0 if there is none that XML allows.
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return first >= 0x20 ? first != 0x7F : first == '\t' || first == '\n';
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  uint32_t code = first & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  const bool c1_control = code < 0xA0;
  const bool direction = (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);  // would turn text
  return overlong || surrogate || c1_control || direction || code > 0x10FFFF || (code & 0xFFFE) == 0xFFFE ? 0 : length;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = character_length(text);
    switch (length == 1 ? text[0] : '\0') {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += length == 0 ? replacement : text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

void Html::start(std::string_view tag, Attributes attributes) {
  page_ += '<';
  page_ += tag;
  for (const auto& [name, value] : attributes) {
    page_ += ' ';
    page_ += name;
    page_ += "=\"" + escaped(value) + '"';
  }
}

Html::Scope Html::in(std::string_view tag, Attributes attributes) {
  page_ += '\n';
  start(tag, attributes);
  page_ += '>';
  open_.emplace_back(tag);
  return Scope(*this);
}

void Html::element(std::string_view tag, Attributes attributes, std::string_view text) {
  start(tag, attributes);
  page_ += '>' + escaped(text) + "</";
  page_ += tag;
  page_ += '>';
}

void Html::empty(std::string_view tag, Attributes attributes) {
  start(tag, attributes);
  page_ += "/>";
}

void Html::close() {
  page_ += "</" + open_.back() + '>';
  open_.pop_back();
}

}  // namespace hp
