// The data set formats: each reads its annotations into a Listing; none decodes a picture.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tools/data/dataset.h"

namespace hp {

// root/split/<class>/**/*.jpg: classes are the sub-folders in byte order. Files without an image suffix and hidden ones
// are left out.
Listing list_image_folder(const std::filesystem::path& root, const std::string& split);

// Tiny-ImageNet-200's layout: wnids.txt (class order), words.txt (names), train/<wnid>/<wnid>_boxes.txt and images/,
// and val/val_annotations.txt and images/. Boxes are inclusive, from 0. Classes are named by the first word of
// words.txt ("goldfish"), by the wnid where that is missing or not unique.
Listing list_tiny_imagenet(const std::filesystem::path& root, const std::string& split);

// PASCAL-VOC: ImageSets/Main/<split>.txt, Annotations/<id>.xml, JPEGImages. `classes` empty: every name in Annotations,
// in byte order (for VOC itself that is the canonical order).
Listing list_voc(const std::filesystem::path& root, const std::string& split, const std::vector<std::string>& classes,
                 VocBoxes boxes);

// CIFAR-10's binary version: batches.meta.txt, data_batch_*.bin for "train", test_batch.bin for "test", <split>.bin
// otherwise. Ids are "data_batch_1.bin:17".
Listing list_cifar10(const std::filesystem::path& root, const std::string& split);
std::unique_ptr<Dataset> make_cifar10(Listing listing);

// Helpers that several formats share.

// The lines of a text file without line ends; empty lines are left out. Throws hp::Error.
std::vector<std::string> read_lines(const std::filesystem::path& path);
// The words of a line between blanks (and tabs).
std::vector<std::string> split_words(std::string_view line);
// A finite number, nothing else; `where` is for the error text.
double parse_number(std::string_view text, const std::string& where);
// Throws hp::Error naming `what` unless the folder is there.
void require_folder(const std::filesystem::path& path, std::string_view what);

}  // namespace hp
