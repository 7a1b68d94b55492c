// Sections: the parts of the report's page, each of which writes nothing where it has nothing to show.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tools/experiment/results.h"
#include "tools/report/html.h"

namespace hp {

void write_pretraining(Html& html, const Results& results);
void write_probes(Html& html, const Results& results);
void write_evaluations(Html& html, const Results& results);
void write_shift(Html& html, const Results& results, const std::filesystem::path& folder);
void write_gallery(Html& html, const Results& results, const std::filesystem::path& folder);

// A table of the maps of one target, methods by probes.
void write_maps(Html& html, const GalleryItem& item, const std::filesystem::path& folder);

// A probe has the same colour everywhere.
size_t colour_of(const Results& results, std::string_view probe);
// Colours and names of probes, and of a dashed line where `reference` is not empty.
void write_legend(Html& html, const Results& results, const std::vector<std::string>& probes,
                  const std::string& reference = "");
// The names of a chart's series, in their order of colours.
void write_series(Html& html, const std::vector<std::string>& names);

// Rows of <th>; numbers stand to the right.
struct Column {
  std::string title;
  bool number = false;
};
void write_header(Html& html, const std::vector<Column>& columns);
void number_cell(Html& html, const std::string& text);

}  // namespace hp
