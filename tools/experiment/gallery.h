// Gallery: the pictures, raw maps and per-layer relevance of the first images of an evaluation.
#pragma once

#include <filesystem>
#include <string>

#include "attribution/explanation.h"
#include "tools/experiment/map_source.h"
#include "tools/experiment/results.h"

namespace hp {

// One batch of maps of one method, as it was computed. Rows (head * targets + t) * batch + b.
struct MapView {
  const MapSource& source;
  const TargetBatch& batch;
  const MapBatch& images;
  const Explanation& explanation;
  std::string set, method;  // set: "grids3x3", "images"
  Session& session;
};

// Files under <folder>/maps/<set>/<ordinal>/: input.png, <method>.<probe>.<target>.png and .npy, overview.<method>.png
// (the input beside the first target's map of every probe), layers/<method>.<probe>.<target>.<node>.npy.
class Gallery {
 public:
  Gallery(std::filesystem::path folder, int64_t first, bool raw_maps)
      : folder_(std::move(folder)), first_(first), raw_maps_(raw_maps) {}

  // What was written for one batch.
  struct Written {
    std::vector<GalleryItem> items;  // one map each
    std::vector<std::string> files;  // relative to the folder
  };

  bool wants(const TargetBatch& batch) const { return !batch.images.empty() && batch.images.front() < first_; }
  // Writes the files of the batch's images that are among the first.
  Written write(const MapView& view) const;
  // Whether files that an earlier run wrote are all there.
  bool holds(const std::vector<std::string>& files) const;
  // Enters maps in the results, those of one picture and target together.
  static void enter(const std::vector<GalleryItem>& items, Results& results);

 private:
  void write_image(const MapView& view, size_t b, const std::vector<float>& maps, Written& written) const;
  void write_map(const MapView& view, int64_t row, const std::filesystem::path& stem, const Picture& heat,
                 std::span<const float> map, Written& written) const;
  void write_layers(const MapView& view, int64_t row, const std::filesystem::path& stem, Written& written) const;
  // The place of a file that is written next.
  std::filesystem::path place(const std::filesystem::path& file, Written& written) const;

  std::filesystem::path folder_;
  int64_t first_;
  bool raw_maps_;
};

}  // namespace hp
