// Text for messages: names that come from files, made safe to print.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hp {

// The text in single quotes, with control and non-ASCII bytes as \xNN and the middle of a long text left out.
std::string printable(std::string_view text);

// The candidate that is closest to `word` by edit distance, or "" if none is near.
std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace hp
