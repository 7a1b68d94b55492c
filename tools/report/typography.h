// Typography: numbers and lengths of text as a reader sees them.
#pragma once

#include <string>
#include <string_view>

namespace hp {

// ASCII numbers as they are printed: the hyphen of a negative number becomes a minus sign, and the spaces in and before
// an interval "[0.1, 0.2]" and before "%" do not break a line.
std::string typeset(std::string_view text);

// UTF-8 characters of a text, and its first few.
size_t characters(std::string_view text);
std::string first_characters(std::string_view text, size_t count);

}  // namespace hp
