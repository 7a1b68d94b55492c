// Export: writes a data set as files for use elsewhere: an image folder, PASCAL-VOC and COCO annotations of it.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>

#include "tools/data/dataset.h"

namespace hp {

struct ExportOptions {
  std::filesystem::path folder{};  // made by the export: it must not be there, or be empty
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(const std::string& split, int64_t done, int64_t total)> progress{};
};

// Writes, with pictures as they are decoded (PNG), named <split>_<number>:
//   JPEGImages/, Annotations/, ImageSets/Main/<split>.txt     PASCAL-VOC, boxes counted from 1
//   annotations/instances_<split>.json                        COCO, file names in JPEGImages, masks as uncompressed RLE
//   <split>/<class>/                                          links to the pictures, of single-label data
// for the splits "train" and "test". The folder appears complete or not at all; false if it was cancelled. Throws
// hp::Error naming the path on any failure to write, and where a class's name cannot be a folder's.
bool export_data(const Dataset& train, const Dataset& test, const ExportOptions& options);

}  // namespace hp
