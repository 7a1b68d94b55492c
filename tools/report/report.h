// Report: the results of a run as one self-contained page, for people.
#pragma once

#include <filesystem>

#include "tools/experiment/results.h"

namespace hp {

// report.html in `folder`, where the gallery's pictures lie too: they go into the page as they are, as do all colours,
// fonts and charts, so that the file can be mailed. A picture that is missing or no PNG leaves a note in its place. The
// page is well-formed XML and needs no script. It appears complete or not at all; throws hp::Error if it cannot be
// written.
void write_report(const std::filesystem::path& folder, const Results& results);

}  // namespace hp
