#include "tools/export/export.h"

#include <algorithm>
#include <fstream>
#include <span>

#include "attribution/image.h"
#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/export/coco.h"
#include "tools/export/voc_annotation.h"

namespace hp {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, std::span<const char> bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  require(file.good(), "[export] {}: cannot be written; got an error of the system; expected room on the disk",
          path.string());
}

// A folder that takes its name only when it is complete, and goes with its contents if it never is.
class PendingFolder {
 public:
  explicit PendingFolder(fs::path path) : path_(std::move(path)), pending_(fs::path(path_).concat(".partial")) {
    require(!fs::exists(path_) || (fs::is_directory(path_) && fs::is_empty(path_)),
            "[export] {}: is there already; got a folder with files or a file; expected a new or empty folder",
            path_.string());
    fs::remove_all(pending_);  // of an export that was killed
    fs::create_directories(pending_);
  }
  ~PendingFolder() {
    std::error_code ignored;
    fs::remove_all(pending_, ignored);
  }
  PendingFolder(const PendingFolder&) = delete;
  PendingFolder& operator=(const PendingFolder&) = delete;

  const fs::path& path() const { return pending_; }
  void commit() {
    fs::remove(path_);  // empty, or not there
    fs::rename(pending_, path_);
  }

 private:
  fs::path path_, pending_;
};

void require_folder_names(const std::vector<std::string>& classes) {
  for (const std::string& name : classes) {
    const bool plain =
        !name.empty() && name[0] != '.' && name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
    require(plain, "[export] class {}: not usable as a folder's name; expected one without '/' and a dot in front",
            printable(name));
  }
}

// The picture under a second name: a link, or a copy where the file system has none.
void link(const fs::path& picture, const fs::path& name) {
  std::error_code unlinked;
  fs::create_hard_link(picture, name, unlinked);
  if (unlinked) fs::copy_file(picture, name);
}

bool export_split(const Dataset& data, const std::string& split, const fs::path& folder, const ExportOptions& options) {
  CocoFile coco(data.classes());
  std::string list;
  for (const std::string& name : data.classes())
    if (!data.multi_label()) fs::create_directories(folder / split / name);
  for (int64_t i = 0; i < data.size(); ++i) {
    if (options.cancelled && *options.cancelled) return false;
    if (options.progress) options.progress(split, i, data.size());
    Sample sample = data.load(i);
    const std::string stem = fmt::format("{}_{:06}", split, i), file = stem + ".png";
    const std::vector<uint8_t> png =
        encode_png({sample.image.width, sample.image.height, std::move(sample.image.pixels)});
    write_file(folder / "JPEGImages" / file, {reinterpret_cast<const char*>(png.data()), png.size()});
    write_file(folder / "Annotations" / (stem + ".xml"), voc_annotation(sample, data.classes(), file));
    coco.add(sample, file);
    list += stem + "\n";
    if (data.multi_label()) continue;
    const std::string& name = data.classes()[static_cast<size_t>(sample.labels.at(0))];
    link(folder / "JPEGImages" / file, folder / split / name / file);
  }
  write_file(folder / "ImageSets/Main" / (split + ".txt"), list);
  write_file(folder / "annotations" / ("instances_" + split + ".json"), coco.text());
  if (options.progress) options.progress(split, data.size(), data.size());
  return true;
}

}  // namespace

bool export_data(const Dataset& train, const Dataset& test, const ExportOptions& options) {
  require_folder_names(train.classes());
  require_same_classes(train, test);
  try {
    PendingFolder folder(options.folder);
    for (const char* part : {"JPEGImages", "Annotations", "ImageSets/Main", "annotations"})
      fs::create_directories(folder.path() / part);
    if (!export_split(train, "train", folder.path(), options)) return false;
    if (!export_split(test, "test", folder.path(), options)) return false;
    folder.commit();
    return true;
  } catch (const fs::filesystem_error& error) {
    fail("[export] {}: cannot be written; got {}; expected a place that can be written to", error.path1().string(),
         error.code().message());
  }
}

}  // namespace hp
