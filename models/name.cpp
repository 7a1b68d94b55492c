#include "models/name.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

int64_t ModelName::get(char letter, int64_t otherwise) const {
  const auto found = settings.find(letter);
  return found == settings.end() ? otherwise : found->second;
}

ModelName parse_model_name(const std::string& name) {
  constexpr size_t most_digits = 4;
  ModelName parsed{name, {}};
  for (;;) {
    const size_t mark = parsed.base.rfind('_');
    if (mark == std::string::npos || mark + 2 >= parsed.base.size()) return parsed;
    const char letter = parsed.base[mark + 1];
    const std::string digits = parsed.base.substr(mark + 2);
    const bool number = digits.size() <= most_digits &&
                        std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (letter < 'a' || letter > 'z' || !number || parsed.settings.contains(letter)) return parsed;
    parsed.settings[letter] = std::stoll(digits);
    parsed.base.resize(mark);
  }
}

std::string with_setting(const std::string& base, char letter, int64_t value, int64_t own) {
  return value == own ? base : fmt::format("{}_{}{}", base, letter, value);
}

void require_settings(const ModelName& name, std::string_view letters, const std::string& architecture) {
  constexpr int64_t widest = 1024, most = 4096;
  for (const auto& [letter, value] : name.settings) {
    require(letters.find(letter) != letters.npos,
            "[models] unknown setting '_{}{}' of '{}'; expected one of the letters {}", letter, value, architecture,
            letters);
    require(letter != 'w' || (value >= 4 && value % 4 == 0 && value <= widest),
            "[models] unusable width; got '{}'; expected a multiple of 4 from 4 to {}", architecture, widest);
    require(value >= 1 && value <= most, "[models] unusable setting '_{}{}'; got '{}'; expected 1 to {}", letter, value,
            architecture, most);
  }
}

}  // namespace hp
