// Image folders: a sub-folder for each class.
#include <algorithm>
#include <array>
#include <cctype>

#include "runtime/error.h"
#include "tools/data/formats.h"

namespace hp {
namespace {

namespace fs = std::filesystem;

// Also the suffixes of formats that cannot be decoded: such a file is then named as unreadable, not passed over in
// silence.
bool has_image_suffix(const fs::path& path) {
  static constexpr std::array<std::string_view, 11> suffixes = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp",
                                                                ".gif", ".webp", ".tif", ".tiff", ".ppm"};
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

std::vector<std::string> files_below(const fs::path& folder, const fs::path& root) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!hidden(entry.path()) && has_image_suffix(entry.path()) && !entry.is_directory()) {
      files.push_back(entry.path().lexically_relative(root).generic_string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Listing list_image_folder(const fs::path& root, const std::string& split) {
  const fs::path folder = root / split;
  require_folder(folder, "one sub-folder for each class in it");
  Listing listing{.root = folder};
  try {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.is_directory() && !hidden(entry.path())) listing.classes.push_back(entry.path().filename().string());
    }
    std::sort(listing.classes.begin(), listing.classes.end());
    require(!listing.classes.empty(), "[data] {}: no sub-folders; expected one for each class", folder.string());
    for (size_t label = 0; label < listing.classes.size(); ++label) {
      auto files = files_below(folder / listing.classes[label], folder);
      require(!files.empty(), "[data] {}: no images in it; expected at least one for each class",
              (folder / listing.classes[label]).string());
      for (std::string& file : files) {
        listing.items.push_back({.id = std::move(file), .labels = {static_cast<int>(label)}});
      }
    }
  } catch (const fs::filesystem_error& error) {
    fail("[data] {}: cannot be listed: {}", folder.string(), error.code().message());
  }
  return listing;
}

}  // namespace hp
