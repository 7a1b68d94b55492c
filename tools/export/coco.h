// COCO's instance annotations.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tools/data/sample.h"

namespace hp {

// Uncompressed run-length encoding, as pycocotools reads it: {"size": [height, width], "counts": [...]}, the lengths of
// runs of not covered and covered pixels in turn, column by column, beginning with not covered ones.
nlohmann::json run_lengths(const Mask& mask);

// One split's file in the making: images and annotations count from 1, categories too.
class CocoFile {
 public:
  explicit CocoFile(std::span<const std::string> classes);
  // Masks go with boxes where there is one for each; else an annotation has its box alone.
  void add(const Sample& sample, const std::string& file);
  std::string text() const { return json_.dump() + "\n"; }

 private:
  nlohmann::json json_;
};

}  // namespace hp
