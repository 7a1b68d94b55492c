#include "tools/experiment/gallery.h"

#include <fmt/format.h>

#include <algorithm>

#include "attribution/npy.h"

namespace hp {

namespace {

constexpr int64_t least_side = 96;  // smaller maps are enlarged, so that a pixel can be seen

std::vector<float> downloaded(Session& session, const Tensor& tensor) {
  std::vector<float> host(static_cast<size_t>(tensor.count()));
  session.context().kernels.download(tensor.floats(), tensor.bytes(), host.data());
  return host;
}

Picture readable(const Picture& picture) {
  const int64_t side = std::max<int64_t>(1, std::min(picture.width, picture.height));
  return enlarged(picture, std::max<int64_t>(1, (least_side + side - 1) / side));
}

GalleryItem& item_of(Results& results, const GalleryItem& wanted) {
  for (GalleryItem& item : results.gallery) {
    if (item.evaluation == wanted.evaluation && item.sample == wanted.sample && item.target == wanted.target)
      return item;
  }
  results.gallery.push_back(wanted);
  return results.gallery.back();
}

}  // namespace

void Gallery::add(const MapView& view, Results& results) const {
  const Observed observed(view.session.context().kernels.observer(), "run/pictures");
  const std::vector<float> maps = downloaded(view.session, view.explanation.map);
  for (size_t b = 0; b < view.batch.images.size(); ++b) {
    if (view.batch.images[b] < first_) add_image(view, b, maps, results);
  }
}

void Gallery::add_image(const MapView& view, size_t b, const std::vector<float>& maps, Results& results) const {
  const int64_t ordinal = view.batch.images[b];
  const int64_t batch = static_cast<int64_t>(view.batch.images.size());
  const int64_t targets = static_cast<int64_t>(view.batch.targets.size()) / batch;
  const Shape& shape = view.explanation.map.shape();
  const size_t pixels = static_cast<size_t>(shape[1] * shape[2]);
  const std::filesystem::path place = std::filesystem::path("maps") / view.set / std::to_string(ordinal);
  std::filesystem::create_directories(folder_ / place);

  const Tensor image = view.images.images.rows(static_cast<int64_t>(b), static_cast<int64_t>(b) + 1);
  const Picture input = readable(picture_of(downloaded(view.session, image), shape[1], shape[2]));
  write_png(folder_ / place / "input.png", input);
  std::vector<Picture> overview{input};
  for (size_t head = 0; head < view.session.head_count(); ++head) {
    for (int64_t t = 0; t < targets; ++t) {
      const int64_t row = (static_cast<int64_t>(head) * targets + t) * batch + static_cast<int64_t>(b);
      const Subject& subject = view.images.subjects[static_cast<size_t>(t * batch) + b];
      const std::span<const float> map(maps.data() + static_cast<size_t>(row) * pixels, pixels);
      const Picture heat = readable(heat_picture(map, shape[1], shape[2]));
      const std::filesystem::path stem = place / fmt::format("{}.{}.{}", view.method, view.session.head_name(head), t);
      write_png(folder_ / (stem.string() + ".png"), heat);
      if (raw_maps_) write_npy(folder_ / (stem.string() + ".npy"), Tensor::host({shape[1], shape[2]}, map));
      write_layers(view, row, stem);
      if (t == 0) overview.push_back(heat);
      // The report shows one target an image, another one each time.
      if (t != ordinal % targets) continue;
      const GalleryItem wanted{
          view.set, view.source.sample_name(ordinal), view.source.title(subject), place / "input.png", {}};
      item_of(results, wanted).maps.push_back({view.method, view.session.head_name(head), stem.string() + ".png"});
    }
  }
  write_png(folder_ / place / fmt::format("overview.{}.png", view.method), montage(overview));
}

void Gallery::write_layers(const MapView& view, int64_t row, const std::filesystem::path& stem) const {
  if (view.explanation.layers.empty()) return;
  const std::filesystem::path layers = folder_ / stem.parent_path() / "layers";
  std::filesystem::create_directories(layers);
  for (const auto& [node, tensor] : view.explanation.layers) {
    const Tensor one = tensor.rows(row, row + 1);
    const std::vector<float> values = downloaded(view.session, one);
    write_npy(layers / fmt::format("{}.{}.npy", stem.filename().string(), node), Tensor::host(one.shape(), values));
  }
}

}  // namespace hp
