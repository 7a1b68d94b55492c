// Tiny-ImageNet-200's own layout, or a part of its classes in it.
#include <map>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/data/formats.h"

namespace hp {
namespace {

namespace fs = std::filesystem;

// "n01443537<tab>goldfish, Carassius auratus": the first of the names.
std::map<std::string, std::string> read_names(const fs::path& file) {
  std::map<std::string, std::string> names;
  std::error_code error;
  if (!fs::exists(file, error)) return names;
  for (const std::string& line : read_lines(file)) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    names[line.substr(0, tab)] = line.substr(tab + 1, line.find(',', tab) - tab - 1);
  }
  return names;
}

std::vector<std::string> class_names(const std::vector<std::string>& wnids, const fs::path& words) {
  const auto names = read_names(words);
  std::map<std::string, int> uses;
  const auto name_of = [&](const std::string& wnid) {
    const auto found = names.find(wnid);
    return found == names.end() || found->second.empty() ? wnid : found->second;
  };
  for (const std::string& wnid : wnids) ++uses[name_of(wnid)];
  std::vector<std::string> result;
  for (const std::string& wnid : wnids) result.push_back(uses[name_of(wnid)] == 1 ? name_of(wnid) : wnid);
  return result;
}

// Four words from `first` on: x0, y0, x1, y1, the last pixel included.
Box parse_box(const std::vector<std::string>& words, size_t first, int label, const std::string& where) {
  const auto number = [&](size_t i) { return static_cast<float>(parse_number(words[first + i], where)); };
  return {.category = label, .x0 = number(0), .y0 = number(1), .x1 = number(2) + 1, .y1 = number(3) + 1};
}

// Lines "image x0 y0 x1 y1" (training) or "image wnid x0 y0 x1 y1" (validation).
void add_annotations(Listing& listing, const fs::path& file, const std::string& images,
                     const std::map<std::string, int>* labels, int label) {
  const size_t before_box = labels ? 2 : 1;
  int64_t number = 0;
  for (const std::string& line : read_lines(file)) {
    const std::string where = fmt::format("{}, line {}", file.string(), ++number);
    const auto words = split_words(line);
    require(words.size() == before_box + 4, "[data] {}: got {} words; expected {}", where, words.size(),
            labels ? "image, wnid and four numbers" : "image and four numbers");
    if (labels) {
      const auto found = labels->find(words[1]);
      if (found == labels->end()) fail("[data] {}: class {} is not in wnids.txt", where, printable(words[1]));
      label = found->second;
    }
    listing.items.push_back(
        {.id = images + words[0], .labels = {label}, .boxes = {parse_box(words, before_box, label, where)}});
  }
}

}  // namespace

Listing list_tiny_imagenet(const fs::path& root, const std::string& split) {
  require_folder(root, "wnids.txt, train and val in it");
  require(split != "test", "[data] {}: Tiny-ImageNet's test split has no labels; use val", root.string());
  require(split == "train" || split == "val", "[data] split '{}' of Tiny-ImageNet; expected train or val", split);
  const auto wnids = read_lines(root / "wnids.txt");
  require(!wnids.empty(), "[data] {}: no classes in it", (root / "wnids.txt").string());
  std::map<std::string, int> labels;
  for (const std::string& wnid : wnids) {
    require(labels.emplace(wnid, static_cast<int>(labels.size())).second, "[data] {}: class '{}' twice",
            (root / "wnids.txt").string(), wnid);
  }
  Listing listing{.root = root, .classes = class_names(wnids, root / "words.txt")};
  if (split == "val") {
    add_annotations(listing, root / "val/val_annotations.txt", "val/images/", &labels, 0);
    return listing;
  }
  for (const std::string& wnid : wnids) {
    const std::string folder = "train/" + wnid + "/";
    require_folder(root / folder, "one for each class of wnids.txt");
    add_annotations(listing, root / folder / (wnid + "_boxes.txt"), folder + "images/", nullptr, labels.at(wnid));
  }
  return listing;
}

}  // namespace hp
