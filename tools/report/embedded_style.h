// report.css as text, put here by the build.
#pragma once

#include <string_view>

namespace hp {

extern const std::string_view embedded_report_style;

}  // namespace hp
