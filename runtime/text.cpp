#include "runtime/text.h"

#include <fmt/format.h>

namespace hp {
namespace {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr size_t longest = 120;
  if (text.size() <= longest) return fmt::format("'{}'", escaped(text));
  return fmt::format("'{}...{}' ({} bytes)", escaped(text.substr(0, longest / 2)),
                     escaped(text.substr(text.size() - longest / 4)), text.size());
}

}  // namespace hp
