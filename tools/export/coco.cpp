#include "tools/export/coco.h"

#include <algorithm>

namespace hp {

using nlohmann::json;

json run_lengths(const Mask& mask) {
  std::vector<int64_t> counts = {0};
  bool covered = false;
  for (int x = 0; x < mask.width; ++x) {
    for (int y = 0; y < mask.height; ++y) {
      const bool now = mask.covered[static_cast<size_t>(y) * static_cast<size_t>(mask.width) + static_cast<size_t>(x)];
      if (now != covered) counts.push_back(0);
      covered = now;
      ++counts.back();
    }
  }
  return {{"size", {mask.height, mask.width}}, {"counts", counts}};
}

CocoFile::CocoFile(std::span<const std::string> classes) {
  json_ = {{"info", {{"description", "exported data set"}}},
           {"images", json::array()},
           {"annotations", json::array()},
           {"categories", json::array()}};
  for (const std::string& name : classes)
    json_["categories"].push_back(
        {{"id", json_["categories"].size() + 1}, {"name", name}, {"supercategory", "object"}});
}

void CocoFile::add(const Sample& sample, const std::string& file) {
  const size_t image = json_["images"].size() + 1;
  json_["images"].push_back(
      {{"id", image}, {"file_name", file}, {"height", sample.image.height}, {"width", sample.image.width}});
  const bool masks = sample.masks.size() == sample.boxes.size();
  for (size_t i = 0; i < sample.boxes.size(); ++i) {
    const Box& box = sample.boxes[i];
    const float width = box.x1 - box.x0, height = box.y1 - box.y0;
    json annotation = {{"id", json_["annotations"].size() + 1},
                       {"image_id", image},
                       {"category_id", box.category + 1},
                       {"bbox", {box.x0, box.y0, width, height}},
                       {"area", width * height},
                       {"iscrowd", 0},
                       {"segmentation", json::array()}};
    if (box.difficult) annotation["ignore"] = 1;
    if (masks) {
      const Mask& mask = sample.masks[i];
      annotation["segmentation"] = run_lengths(mask);
      annotation["area"] = std::count_if(mask.covered.begin(), mask.covered.end(), [](uint8_t pixel) { return pixel; });
    }
    json_["annotations"].push_back(std::move(annotation));
  }
}

}  // namespace hp
