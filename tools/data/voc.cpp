// PASCAL-VOC: one XML file a picture, lists of pictures as splits.
#include <algorithm>
#include <array>
#include <map>
#include <pugixml.hpp>
#include <set>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/data/formats.h"

namespace hp {
namespace {

namespace fs = std::filesystem;

pugi::xml_node parse(pugi::xml_document& document, const fs::path& file) {
  const pugi::xml_parse_result result = document.load_file(file.c_str());
  require(result, "[data] {}: malformed annotation at byte {}: {}", file.string(), result.offset, result.description());
  const pugi::xml_node annotation = document.child("annotation");
  require(annotation, "[data] {}: no <annotation> element", file.string());
  return annotation;
}

std::string class_of(const pugi::xml_node& object, const fs::path& file) {
  const auto words = split_words(object.child_value("name"));
  require(!words.empty(), "[data] {}: an object without a name", file.string());
  return fmt::format("{}", fmt::join(words, " "));
}

std::vector<std::string> collect_classes(const fs::path& annotations) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(annotations)) {
    if (entry.path().extension() != ".xml") continue;
    pugi::xml_document document;
    for (const auto& object : parse(document, entry.path()).children("object"))
      names.insert(class_of(object, entry.path()));
  }
  require(!names.empty(), "[data] {}: no objects in its annotations", annotations.string());
  return {names.begin(), names.end()};
}

int parse_side(const pugi::xml_node& size, const char* name, const fs::path& file) {
  if (!size.child(name)) return 0;
  const double side = parse_number(size.child_value(name), file.string() + ", <" + name + ">");
  require(side >= 0 && side <= max_image_side, "[data] {}: <{}> {}; expected 0 to {}", file.string(), name, side,
          max_image_side);
  return static_cast<int>(side);
}

Box parse_box(const pugi::xml_node& object, VocBoxes convention, const fs::path& file) {
  const pugi::xml_node corners = object.child("bndbox");
  const auto number = [&](const char* name) {
    return static_cast<float>(parse_number(corners.child_value(name), file.string() + ", <" + name + ">"));
  };
  const float first =
      convention == VocBoxes::one_based ? 1.0F : 0.0F;  // [xmin, xmax] from 1 is [xmin - 1, xmax) from 0
  return {.category = 0,
          .x0 = number("xmin") - first,
          .y0 = number("ymin") - first,
          .x1 = number("xmax"),
          .y1 = number("ymax")};
}

// The picture's file: <id> with a usual suffix, else what the annotation names.
std::string picture_of(const fs::path& pictures, const std::string& id, const pugi::xml_node& annotation) {
  std::error_code error;
  for (const char* suffix : {".jpg", ".jpeg", ".JPG", ".JPEG", ".png"}) {
    if (fs::exists(pictures / (id + suffix), error)) return id + suffix;
  }
  const std::string named = fs::path(annotation.child_value("filename")).filename().string();
  return !named.empty() && fs::exists(pictures / named, error) ? named : id + ".jpg";
}

Item read_item(const fs::path& root, const std::string& id, const std::map<std::string, int>& labels,
               VocBoxes convention) {
  const fs::path file = root / "Annotations" / (id + ".xml");
  pugi::xml_document document;
  const pugi::xml_node annotation = parse(document, file);
  Item item{.id = picture_of(root / "JPEGImages", id, annotation)};
  item.height = parse_side(annotation.child("size"), "height", file);
  item.width = parse_side(annotation.child("size"), "width", file);
  if (item.height == 0 || item.width == 0) item.height = item.width = 0;
  std::set<int> plain, difficult;
  for (const auto& object : annotation.children("object")) {
    const std::string name = class_of(object, file);
    const auto label = labels.find(name);
    if (label == labels.end()) {
      fail("[data] {}: class {} is not one of the {} classes of this data set", file.string(), printable(name),
           labels.size());
    }
    Box box = parse_box(object, convention, file);
    box.category = label->second;
    box.difficult = object.child("difficult").text().as_int() != 0;
    (box.difficult ? difficult : plain).insert(box.category);
    item.boxes.push_back(box);
  }
  item.labels.assign(plain.begin(), plain.end());
  std::set_difference(difficult.begin(), difficult.end(), plain.begin(), plain.end(),
                      std::back_inserter(item.difficult));
  return item;
}

}  // namespace

Listing list_voc(const fs::path& root, const std::string& split, const std::vector<std::string>& classes,
                 VocBoxes boxes) {
  require_folder(root / "Annotations", "PASCAL-VOC's Annotations, ImageSets/Main and JPEGImages");
  require_folder(root / "JPEGImages", "PASCAL-VOC's pictures");
  Listing listing{.root = root / "JPEGImages",
                  .classes = classes.empty() ? collect_classes(root / "Annotations") : classes,
                  .multi_label = true};
  std::map<std::string, int> labels;
  for (const std::string& name : listing.classes) {
    require(labels.emplace(name, static_cast<int>(labels.size())).second, "[data] class '{}' is listed twice", name);
  }
  for (const std::string& line : read_lines(root / "ImageSets/Main" / (split + ".txt"))) {
    listing.items.push_back(read_item(root, split_words(line).front(), labels, boxes));
  }
  return listing;
}

}  // namespace hp
