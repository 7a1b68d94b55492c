// The PASCAL-VOC annotation of one picture.
#pragma once

#include <string>
#include <vector>

#include "tools/data/sample.h"

namespace hp {

// XML with one object for each box; corners count from 1 and the last pixel is included. `file` is the picture's name.
std::string voc_annotation(const Sample& sample, const std::vector<std::string>& classes, const std::string& file);

}  // namespace hp
