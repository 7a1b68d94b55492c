// Dataset: a list of labelled pictures, decoded or made one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/data/preprocess.h"
#include "tools/data/sample.h"
#include "tools/data/scenes/config.h"

namespace hp {

// What the annotations say about one picture; boxes are in the coordinates of the picture as decoded, not yet clipped
// to it.
struct Item {
  std::string id{};                        // the file, relative to the listing's root; unique in its data set
  std::vector<int> labels{}, difficult{};  // as in Sample
  std::vector<Box> boxes{};
  int height = 0, width = 0;  // as the annotation says; 0: it does not
  int64_t position = 0;       // in the whole listing, before a subset was taken
};

// Everything that a data set's format has to give.
struct Listing {
  std::filesystem::path root{};
  std::vector<std::string> classes{};
  std::vector<Item> items{};
  bool multi_label = false;
  // Boxes and masks come with the pictures (load), not with the items; every label of an item has some.
  bool loaded_regions = false;
};

// Immutable once made, so any number of threads may load from it.
class Dataset {
 public:
  explicit Dataset(Listing listing) : listing_(std::move(listing)) {}
  virtual ~Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  int64_t size() const { return static_cast<int64_t>(listing_.items.size()); }
  const std::vector<std::string>& classes() const { return listing_.classes; }
  bool multi_label() const { return listing_.multi_label; }
  bool loaded_regions() const { return listing_.loaded_regions; }
  bool has_boxes() const;                                   // whether any picture has; none is decoded
  bool has_masks() const { return loaded_regions(); }       // no format on disk has any
  const Item& item(int64_t index) const;                    // nothing is decoded
  virtual std::filesystem::path path(int64_t index) const;  // the file that holds the picture
  // Decodes the picture. Boxes are clipped to it and counted. Throws hp::Error naming the file where the picture is
  // unreadable or its size is not what the annotation says.
  virtual Sample load(int64_t index) const;
  // What the picture depends on, for keys of caches: its file, seen from `root`, with size and time of writing.
  virtual std::string stamp(int64_t index, const std::filesystem::path& root) const;

 protected:
  virtual Image decode(int64_t index) const { return decode_image(path(index)); }

 private:
  Listing listing_;
};

// A part of a data set, the same for the same seed on every machine; the listing's order is kept. Smaller limits give
// subsets of larger ones. With `in_order` the first pictures are taken instead of random ones.
struct Subset {
  int64_t limit = 0;      // pictures in all; 0: no limit
  int64_t per_class = 0;  // pictures of each class; a multi-label one is taken while one of its classes lacks some
  uint64_t seed = 0;
  bool in_order = false;
};

// VOC files count pixels from 1 and include the last one. Some tools read the numbers as half-open ones from 0.
enum class VocBoxes { one_based, as_written };

struct DataConfig {
  std::string type{};            // one of data_types()
  std::filesystem::path root{};  // of the formats on disk
  // Names of the splits; empty: the format's own (train and test, train and val, trainval and test).
  std::string train{}, test{};
  std::vector<std::string> classes{};  // what the classes must be; empty: as found. For VOC also their order
  Subset train_subset{}, test_subset{};
  VocBoxes voc_boxes = VocBoxes::one_based;
  scenes::Config scenes{};
  Preprocess preprocess{};
};

enum class Split { train, test };

// "image-folder", "tiny-imagenet", "cifar10", "voc", "scenes" (made, not read).
std::span<const std::string_view> data_types();

// Throws hp::Error naming the file or folder on a missing folder, a malformed annotation, classes other than the
// configured ones, an empty class or data set.
std::unique_ptr<Dataset> open_dataset(const DataConfig& config, Split split);

// Throws hp::Error with the first difference unless both have the same classes in the same order.
void require_same_classes(const Dataset& train, const Dataset& test);

}  // namespace hp
