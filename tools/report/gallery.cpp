#include <fmt/format.h>

#include <algorithm>

#include "tools/report/findings.h"
#include "tools/report/picture_data.h"
#include "tools/report/sections.h"

namespace hp {
namespace {

void write_picture(Html& html, const std::filesystem::path& path, const std::string& description) {
  const std::optional<PictureData> picture = picture_data(path);
  if (!picture) return html.element("span", {{"class", "missing"}}, "no picture");
  html.empty("img", {{"src", picture->url},
                     {"alt", description},
                     {"width", std::to_string(picture->width)},
                     {"height", std::to_string(picture->height)}});
}

void write_scale(Html& html) {
  const auto scale = html.in("div", {{"class", "scale"}});
  html.element("span", "negative");
  html.element("span", {{"class", "ramp"}, {"role", "img"}, {"aria-label", "blue to white to red"}}, "");
  html.element("span", "positive");
}

std::vector<std::string> names_of(const GalleryItem& item, std::string GalleryMap::* name) {
  std::vector<std::string> names;
  for (const GalleryMap& map : item.maps) {
    if (std::find(names.begin(), names.end(), map.*name) == names.end()) names.push_back(map.*name);
  }
  return names;
}

void write_map(Html& html, const GalleryItem& item, const std::string& method, const std::string& probe,
               const std::filesystem::path& folder) {
  const auto cell = html.in("td");
  const auto found = std::find_if(item.maps.begin(), item.maps.end(),
                                  [&](const GalleryMap& m) { return m.method == method && m.probe == probe; });
  if (found == item.maps.end()) return;
  write_picture(html, folder / found->picture,
                fmt::format("Heat map of {} on {} for {}, {}", method, probe, item.sample, item.target));
}

void write_item(Html& html, const GalleryItem& item, const std::filesystem::path& folder) {
  const auto figure = html.in("figure", {{"class", "item"}});
  {
    const auto input = html.in("div", {{"class", "input"}});
    write_picture(html, folder / item.input, "Input: " + item.sample);
    const auto caption = html.in("p");
    html.element("strong", item.sample);
    html.empty("br");
    html.text(item.target);
  }
  write_maps(html, item, folder);
}

// Evaluations by the titles of their sections.
std::string title_of(const Results& results, const std::string& evaluation) {
  for (const EvaluationNames& names : evaluations_of(results)) {
    if (names.evaluation == evaluation) return evaluation_title(names.evaluation, names.metric);
  }
  return evaluation;
}

}  // namespace

void write_maps(Html& html, const GalleryItem& item, const std::filesystem::path& folder) {
  const std::vector<std::string> probes = names_of(item, &GalleryMap::probe);
  const auto scroll = html.in("div", {{"class", "scroll"}});
  const auto table = html.in("table", {{"class", "maps"}});
  {
    const auto head = html.in("thead");
    const auto row = html.in("tr");
    html.element("td", "");
    for (const std::string& probe : probes) html.element("th", {{"scope", "col"}}, probe);
  }
  const auto body = html.in("tbody");
  for (const std::string& method : names_of(item, &GalleryMap::method)) {
    const auto row = html.in("tr");
    html.element("th", {{"scope", "row"}}, method);
    for (const std::string& probe : probes) write_map(html, item, method, probe, folder);
  }
}

void write_gallery(Html& html, const Results& results, const std::filesystem::path& folder) {
  if (results.gallery.empty()) return;
  const auto section = html.in("section", {{"class", "gallery"}});
  html.element("h2", "Heat maps");
  html.element(
      "p", {{"class", "note"}},
      "The first samples, not chosen ones. White is 0; the full colour is each map's own largest magnitude, so "
      "that colours compare within a map and not between maps.");
  write_scale(html);
  const std::string* evaluation = nullptr;
  for (const GalleryItem& item : results.gallery) {
    if (evaluation == nullptr || *evaluation != item.evaluation) html.element("h3", title_of(results, item.evaluation));
    evaluation = &item.evaluation;
    write_item(html, item, folder);
  }
}

}  // namespace hp
