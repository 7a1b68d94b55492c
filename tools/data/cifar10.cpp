// CIFAR-10's binary version: records of one label byte and 3072 pixel bytes, planes of red, green and blue, 32 x 32
// each.
#include <algorithm>
#include <fstream>

#include "runtime/error.h"
#include "tools/data/formats.h"

namespace hp {
namespace {

namespace fs = std::filesystem;

constexpr int side = 32;
constexpr int64_t plane_bytes = side * side;
constexpr int64_t record_bytes = 1 + 3 * plane_bytes;

std::vector<std::string> batch_files(const fs::path& root, const std::string& split) {
  if (split == "test") return {"test_batch.bin"};
  if (split != "train") return {split + ".bin"};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("data_batch_") && name.ends_with(".bin")) files.push_back(name);
  }
  std::sort(files.begin(), files.end());
  require(!files.empty(), "[data] {}: no data_batch_*.bin in it", root.string());
  return files;
}

// Reads the labels only; every record is checked for its class.
void add_records(Listing& listing, const std::string& name) {
  const fs::path path = listing.root / name;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  require(file.good(), "[data] {}: no such file, or not readable", path.string());
  const int64_t bytes = file.tellg();
  require(bytes > 0 && bytes % record_bytes == 0, "[data] {}: got {} bytes; expected a multiple of {} (truncated?)",
          path.string(), bytes, record_bytes);
  for (int64_t record = 0; record < bytes / record_bytes; ++record) {
    file.seekg(record * record_bytes);
    const int label = file.get();
    require(label >= 0 && static_cast<size_t>(label) < listing.classes.size(),
            "[data] {}: record {} has class {}; expected 0 to {}", path.string(), record, label,
            listing.classes.size() - 1);
    listing.items.push_back({.id = fmt::format("{}:{}", name, record), .labels = {label}});
  }
}

// An id is "<file>:<record>".
class Cifar10 : public Dataset {
 public:
  using Dataset::Dataset;

  fs::path path(int64_t index) const override {
    const fs::path whole = Dataset::path(index);
    const std::string name = whole.filename().string();
    return whole.parent_path() / name.substr(0, name.rfind(':'));
  }

 protected:
  Image decode(int64_t index) const override {
    const std::string& id = item(index).id;
    const int64_t record = std::stoll(id.substr(id.rfind(':') + 1));
    std::ifstream file(path(index), std::ios::binary);
    std::vector<char> planes(3 * plane_bytes);
    file.seekg(record * record_bytes + 1);
    file.read(planes.data(), static_cast<std::streamsize>(planes.size()));
    require(file.good(), "[data] {}: record {} cannot be read", path(index).string(), record);
    Image image(side, side);
    for (size_t pixel = 0; pixel < plane_bytes; ++pixel) {
      for (size_t c = 0; c < 3; ++c)
        image.pixels[pixel * 3 + c] = static_cast<uint8_t>(planes[c * plane_bytes + pixel]);
    }
    return image;
  }
};

}  // namespace

Listing list_cifar10(const fs::path& root, const std::string& split) {
  require_folder(root, "CIFAR-10's binary files in it");
  Listing listing{.root = root, .classes = read_lines(root / "batches.meta.txt")};
  require(listing.classes.size() == 10, "[data] {}: got {} classes; expected 10", (root / "batches.meta.txt").string(),
          listing.classes.size());
  for (const std::string& file : batch_files(root, split)) add_records(listing, file);
  return listing;
}

std::unique_ptr<Dataset> make_cifar10(Listing listing) { return std::make_unique<Cifar10>(std::move(listing)); }

}  // namespace hp
