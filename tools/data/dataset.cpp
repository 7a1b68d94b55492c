#include "tools/data/dataset.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "runtime/error.h"
#include "tools/data/box.h"
#include "tools/data/formats.h"
#include "tools/data/scenes/scenes.h"

namespace hp {
namespace {

constexpr std::array<std::string_view, 5> types = {"image-folder", "tiny-imagenet", "cifar10", "voc", "scenes"};

// A well mixed number for (seed, position): splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
uint64_t rank_of(uint64_t seed, int64_t position) {
  uint64_t bits = seed * 0x9E3779B97F4A7C15U + static_cast<uint64_t>(position) + 0x9E3779B97F4A7C15U;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9U;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBU;
  return bits ^ (bits >> 31);
}

std::vector<Item> take(std::vector<Item> items, const Subset& subset, size_t classes) {
  require(subset.limit >= 0 && subset.per_class >= 0, "[data] limit {}, per_class {}; expected 0 (no limit) or more",
          subset.limit, subset.per_class);
  if (subset.limit == 0 && subset.per_class == 0) return items;
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (!subset.in_order) {
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::pair(rank_of(subset.seed, items[a].position), a) <
             std::pair(rank_of(subset.seed, items[b].position), b);
    });
  }
  std::vector<int64_t> taken(classes);
  std::vector<size_t> chosen;
  for (const size_t index : order) {
    if (subset.limit > 0 && static_cast<int64_t>(chosen.size()) == subset.limit) break;
    const auto& labels = items[index].labels;
    const auto lacking = [&](int label) { return taken[static_cast<size_t>(label)] < subset.per_class; };
    if (subset.per_class > 0 && std::none_of(labels.begin(), labels.end(), lacking)) continue;
    for (const int label : labels) ++taken[static_cast<size_t>(label)];
    chosen.push_back(index);
  }
  std::sort(chosen.begin(), chosen.end());
  std::vector<Item> result;
  result.reserve(chosen.size());
  for (const size_t index : chosen) result.push_back(std::move(items[index]));
  return result;
}

void require_classes(const std::vector<std::string>& found, const std::vector<std::string>& expected,
                     const std::string& where) {
  require(found.size() == expected.size(), "[data] {}: got {} classes; expected {}", where, found.size(),
          expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    require(found[i] == expected[i], "[data] {}: class {} is '{}'; expected '{}'", where, i, found[i], expected[i]);
  }
}

struct SplitNames {
  std::string_view train, test;
};

SplitNames default_splits(std::string_view type) {
  if (type == "tiny-imagenet") return {"train", "val"};
  if (type == "voc") return {"trainval", "test"};
  return {"train", "test"};
}

Listing list(const DataConfig& config, const std::string& split, int64_t scenes) {
  if (config.type == "image-folder") return list_image_folder(config.root, split);
  if (config.type == "tiny-imagenet") return list_tiny_imagenet(config.root, split);
  if (config.type == "cifar10") return list_cifar10(config.root, split);
  if (config.type == "voc") return list_voc(config.root, split, config.classes, config.voc_boxes);
  if (config.type == "scenes") return list_scenes(config.scenes, split, scenes);
  fail("[data] type '{}'; expected one of {}", config.type, fmt::join(types, ", "));
}

void require_unique_ids(const Listing& listing) {
  std::unordered_set<std::string_view> ids;
  for (const Item& item : listing.items) {
    require(ids.insert(item.id).second, "[data] {}: '{}' is listed twice", listing.root.string(), item.id);
  }
}

}  // namespace

std::span<const std::string_view> data_types() { return types; }

const Item& Dataset::item(int64_t index) const {
  require(index >= 0 && index < size(), "[data] item {} of a data set of {}", index, size());
  return listing_.items[static_cast<size_t>(index)];
}

bool Dataset::has_boxes() const {
  return loaded_regions() || std::any_of(listing_.items.begin(), listing_.items.end(),
                                         [](const Item& item) { return !item.boxes.empty(); });
}

// Splits and data sets share names such as cat/001.png, and pictures may change and keep their size.
std::string Dataset::stamp(int64_t index, const std::filesystem::path& root) const {
  const std::filesystem::path file = path(index);
  std::error_code missing, undated;
  const auto bytes = std::filesystem::file_size(file, missing);
  const auto written = std::filesystem::last_write_time(file, undated);
  return fmt::format("{} {} {} {}", item(index).id, file.lexically_relative(root).string(), missing ? 0 : bytes,
                     undated ? 0 : written.time_since_epoch().count());
}

std::filesystem::path Dataset::path(int64_t index) const { return listing_.root / item(index).id; }

Sample Dataset::load(int64_t index) const {
  const Item& item = this->item(index);
  Sample sample;
  sample.image = decode(index);
  const int height = sample.image.height, width = sample.image.width;
  require(item.height == 0 || (item.height == height && item.width == width),
          "[data] {}: the annotation says {} x {} pixels; the picture has {} x {}", path(index).string(), item.width,
          item.height, width, height);
  sample.labels = item.labels;
  sample.difficult = item.difficult;
  sample.id = item.id;
  sample.geometry = Geometry::identity(height, width);
  for (Box box : item.boxes) {
    const Clipped clipped = clip(box, height, width);
    if (clipped != Clipped::no) ++sample.clipped_boxes;
    if (clipped != Clipped::away) sample.boxes.push_back(box);
  }
  return sample;
}

std::unique_ptr<Dataset> open_dataset(const DataConfig& config, Split split) {
  const bool train = split == Split::train;
  const SplitNames names = default_splits(config.type);
  const std::string& given = train ? config.train : config.test;
  const std::string name = !given.empty() ? given : std::string(train ? names.train : names.test);
  try {
    Listing listing = list(config, name, train ? config.scenes.train : config.scenes.test);
    const std::string where = fmt::format("{}, split '{}'", config.root.string(), name);
    require(!listing.items.empty(), "[data] {}: no images", where);
    require_unique_ids(listing);
    if (!config.classes.empty()) require_classes(listing.classes, config.classes, where);
    for (size_t i = 0; i < listing.items.size(); ++i) listing.items[i].position = static_cast<int64_t>(i);
    listing.items =
        take(std::move(listing.items), train ? config.train_subset : config.test_subset, listing.classes.size());
    if (config.type == "cifar10") return make_cifar10(std::move(listing));
    if (config.type == "scenes") return make_scenes(std::move(listing), config.scenes, name);
    return std::make_unique<Dataset>(std::move(listing));
  } catch (const std::filesystem::filesystem_error& error) {
    fail("[data] {}: cannot be listed: {}", config.root.string(), error.code().message());
  }
}

void require_same_classes(const Dataset& train, const Dataset& test) {
  require_classes(test.classes(), train.classes(), "the test split against the training split");
}

}  // namespace hp
