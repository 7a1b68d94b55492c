#include "tools/export/voc_annotation.h"

#include <pugixml.hpp>
#include <sstream>

namespace hp {

std::string voc_annotation(const Sample& sample, const std::vector<std::string>& classes, const std::string& file) {
  pugi::xml_document document;
  pugi::xml_node annotation = document.append_child("annotation");
  const auto add = [](pugi::xml_node parent, const char* name, const auto& value) {
    parent.append_child(name).text().set(value);
  };
  add(annotation, "folder", "JPEGImages");
  add(annotation, "filename", file.c_str());
  pugi::xml_node size = annotation.append_child("size");
  add(size, "width", sample.image.width);
  add(size, "height", sample.image.height);
  add(size, "depth", 3);
  add(annotation, "segmented", 0);
  for (const Box& box : sample.boxes) {
    pugi::xml_node object = annotation.append_child("object");
    add(object, "name", classes[static_cast<size_t>(box.category)].c_str());
    add(object, "difficult", box.difficult ? 1 : 0);
    pugi::xml_node corners = object.append_child("bndbox");
    add(corners, "xmin", box.x0 + 1);
    add(corners, "ymin", box.y0 + 1);
    add(corners, "xmax", box.x1);
    add(corners, "ymax", box.y1);
  }
  std::ostringstream text;
  document.save(text, "  ");
  return text.str();
}

}  // namespace hp
