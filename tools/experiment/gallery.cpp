#include "tools/experiment/gallery.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/npy.h"

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

}  // namespace

Gallery::Written Gallery::write(const MapView& view) const {
  const Observed observed(view.session.context().kernels.observer(), "run/pictures");
  const std::vector<float> maps = downloaded(view.session, view.explanation.map);
  Written written;
  for (size_t b = 0; b < view.batch.images.size(); ++b) {
    if (view.batch.images[b] < first_) write_image(view, b, maps, written);
  }
  return written;
}

bool Gallery::holds(const std::vector<std::string>& files) const {
  return std::ranges::all_of(files, [&](const std::string& file) { return std::filesystem::exists(folder_ / file); });
}

void Gallery::enter(const std::vector<GalleryItem>& items, Results& results) {
  for (const GalleryItem& item : items) {
    const auto same = std::ranges::find_if(results.gallery, [&](const GalleryItem& other) {
      return other.evaluation == item.evaluation && other.sample == item.sample && other.target == item.target;
    });
    if (same == results.gallery.end()) {
      results.gallery.push_back(item);
    } else {
      same->maps.insert(same->maps.end(), item.maps.begin(), item.maps.end());
    }
  }
}

std::filesystem::path Gallery::place(const std::filesystem::path& file, Written& written) const {
  written.files.push_back(file.string());
  return folder_ / file;
}

void Gallery::write_image(const MapView& view, size_t b, const std::vector<float>& maps, Written& written) const {
  const int64_t ordinal = view.batch.images[b];
  const int64_t batch = static_cast<int64_t>(view.batch.images.size());
  const int64_t targets = static_cast<int64_t>(view.batch.targets.size()) / batch;
  const Shape& shape = view.explanation.map.shape();
  const size_t pixels = static_cast<size_t>(shape[1] * shape[2]);
  const std::filesystem::path folder = std::filesystem::path("maps") / view.set / std::to_string(ordinal);
  std::filesystem::create_directories(folder_ / folder);

  const Tensor image = view.images.images.rows(static_cast<int64_t>(b), static_cast<int64_t>(b) + 1);
  const Picture input = readable(picture_of(downloaded(view.session, image), shape[1], shape[2]));
  write_png(place(folder / "input.png", written), input);
  std::vector<Picture> overview{input};
  for (size_t head = 0; head < view.session.head_count(); ++head) {
    for (int64_t t = 0; t < targets; ++t) {
      const int64_t row = (static_cast<int64_t>(head) * targets + t) * batch + static_cast<int64_t>(b);
      const Subject& subject = view.images.subjects[static_cast<size_t>(t * batch) + b];
      const std::span<const float> map(maps.data() + static_cast<size_t>(row) * pixels, pixels);
      const Picture heat = readable(heat_picture(map, shape[1], shape[2]));
      const std::filesystem::path stem = folder / fmt::format("{}.{}.{}", view.method, view.session.head_name(head), t);
      write_map(view, row, stem, heat, map, written);
      if (t == 0) overview.push_back(heat);
      // The report shows one target an image, another one each time.
      if (t != ordinal % targets) continue;
      written.items.push_back({view.set,
                               view.source.sample_name(ordinal),
                               view.source.title(subject),
                               folder / "input.png",
                               {{view.method, view.session.head_name(head), stem.string() + ".png"}}});
    }
  }
  write_png(place(folder / fmt::format("overview.{}.png", view.method), written), montage(overview));
}

void Gallery::write_map(const MapView& view, int64_t row, const std::filesystem::path& stem, const Picture& heat,
                        std::span<const float> map, Written& written) const {
  const Shape& shape = view.explanation.map.shape();
  write_png(place(stem.string() + ".png", written), heat);
  if (raw_maps_) write_npy(place(stem.string() + ".npy", written), Tensor::host({shape[1], shape[2]}, map));
  write_layers(view, row, stem, written);
}

void Gallery::write_layers(const MapView& view, int64_t row, const std::filesystem::path& stem,
                           Written& written) const {
  if (view.explanation.layers.empty()) return;
  const std::filesystem::path layers = stem.parent_path() / "layers";
  std::filesystem::create_directories(folder_ / layers);
  for (const auto& [node, tensor] : view.explanation.layers) {
    const Tensor one = tensor.rows(row, row + 1);
    const std::vector<float> values = downloaded(view.session, one);
    write_npy(place(layers / fmt::format("{}.{}.npy", stem.filename().string(), node), written),
              Tensor::host(one.shape(), values));
  }
}

}  // namespace hp
