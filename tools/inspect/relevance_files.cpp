// The files of hp-inspect relevance.
#include <algorithm>

#include "attribution/image.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "runtime/npy.h"
#include "tools/inspect/relevance_view.h"

namespace hp {

namespace {

constexpr int64_t picture_side = 128;  // smaller maps are enlarged, so that a pixel can be seen

Picture readable(const Picture& picture) {
  const int64_t side = std::max<int64_t>(1, std::max(picture.width, picture.height));
  return enlarged(picture, std::max<int64_t>(1, picture_side / side));
}

// Names come from graphs; what a file system may not like becomes '_'.
std::string file_name(size_t number, const std::string& node) {
  std::string name = fmt::format("{:02}_{}", number, node);
  for (char& c : name) {
    const bool harmless =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
    if (!harmless) c = '_';
  }
  return name;
}

Picture map_picture(const Tensor& relevance) {
  const Shape& shape = relevance.shape();
  const int64_t pixels = shape[1] * shape[2], channels = shape[3];
  std::vector<float> map(static_cast<size_t>(pixels), 0.0F);
  for (int64_t p = 0; p < pixels; ++p) {
    double sum = 0;
    for (int64_t c = 0; c < channels; ++c) sum += static_cast<double>(relevance.floats()[p * channels + c]);
    map[static_cast<size_t>(p)] = static_cast<float>(sum);
  }
  return readable(heat_picture(map, shape[1], shape[2], {.percentile = 99.5}));
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

void write_relevance(const std::filesystem::path& folder, const Model& model, const Tensor& image,
                     const RelevanceReport& report, std::span<const NodeRelevance* const> nodes) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  require(!failed, "[inspect] cannot make the folder {}: {}", folder.string(), failed.message());
  const Shape& shape = image.shape();
  const Picture input = readable(picture_of({image.floats(), static_cast<size_t>(image.count())}, shape[1], shape[2]));
  write_png(folder / "input.png", input);
  std::vector<Picture> overview{input};
  for (size_t i = 0; i < nodes.size(); ++i) {
    const std::string name = file_name(i, nodes[i]->node);
    write_npy(folder / (name + ".npy"), nodes[i]->relevance);
    const Shape& map = nodes[i]->relevance.shape();
    if (map.rank() != 4 || map[1] * map[2] < 2) continue;  // a vector has no picture
    overview.push_back(map_picture(nodes[i]->relevance));
    write_png(folder / (name + ".png"), overview.back());
  }
  write_png(folder / "overview.png", montage(overview));
  write_text(folder / "relevance.json", relevance_json(model, report));
}

}  // namespace hp
