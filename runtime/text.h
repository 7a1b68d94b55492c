// Text for messages: names that come from files, made safe to print.
#pragma once

#include <string>
#include <string_view>

namespace hp {

// The text in single quotes, with control and non-ASCII bytes as \xNN and the middle of a long text left out.
std::string printable(std::string_view text);

}  // namespace hp
