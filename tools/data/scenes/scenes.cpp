#include "tools/data/scenes/scenes.h"

#include <utility>

#include "runtime/error.h"
#include "tools/data/scenes/renderer.h"

namespace hp {
namespace {

constexpr int renderer_version = 1;  // raised whenever a picture changes: caches go by it

scenes::Content content_of(const scenes::Config& config) {
  return {.classes = config.classes, .multi_label = config.multi_label};
}

class SceneDataset final : public Dataset {
 public:
  SceneDataset(Listing listing, const scenes::Config& config, std::string split)
      : Dataset(std::move(listing)), config_(config), split_(std::move(split)) {}

  Sample load(int64_t index) const override {
    const Item& item = this->item(index);
    const auto number = static_cast<uint64_t>(item.position);
    const scenes::Scene scene = scenes::compose(content_of(config_), config_.seed, split_, number);
    const scenes::Dice dice(config_.seed, "scenes picture " + split_, number);
    scenes::Rendering rendering = scenes::render(scene, config_.size, static_cast<float>(config_.clutter), dice);
    Sample sample;
    sample.image = std::move(rendering.image);
    sample.labels = item.labels;
    sample.boxes = std::move(rendering.boxes);
    sample.masks = std::move(rendering.masks);
    sample.id = item.id;
    sample.geometry = Geometry::identity(config_.size, config_.size);
    return sample;
  }

  std::string stamp(int64_t index, const std::filesystem::path&) const override {
    return fmt::format("{} of scenes {}: {}", item(index).id, renderer_version, config_.str());
  }

 private:
  const scenes::Config config_;
  const std::string split_;
};

}  // namespace

namespace scenes {

void Config::check() const {
  require(size >= min_size && size <= max_size, "[scenes] size {}; expected {} to {}", size, min_size, max_size);
  require(classes >= min_classes && classes <= max_classes, "[scenes] {} classes; expected {} to {}", classes,
          min_classes, max_classes);
  require(clutter >= 0 && clutter <= 1, "[scenes] clutter {}; expected 0 to 1", clutter);
  constexpr int64_t most = 100'000'000;
  require(train >= 1 && train <= most && test >= 1 && test <= most,
          "[scenes] {} training and {} test pictures; expected 1 to {}", train, test, most);
}

std::string Config::str() const {
  return fmt::format("{} pixels, {} classes, {}, seed {}, clutter {:g}", size, classes,
                     multi_label ? "multi-label" : "single-label", seed, clutter);
}

}  // namespace scenes

Listing list_scenes(const scenes::Config& config, const std::string& split, int64_t count) {
  config.check();
  Listing listing{.root = "scenes", .multi_label = config.multi_label, .loaded_regions = true};
  for (int i = 0; i < config.classes; ++i) listing.classes.push_back(scenes::class_name(i));
  listing.items.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const auto number = static_cast<uint64_t>(i);
    listing.items.push_back({.id = fmt::format("{}/{:06}", split, i),
                             .labels = scenes::compose(content_of(config), config.seed, split, number).labels,
                             .height = config.size,
                             .width = config.size});
  }
  return listing;
}

std::unique_ptr<Dataset> make_scenes(Listing listing, const scenes::Config& config, const std::string& split) {
  return std::make_unique<SceneDataset>(std::move(listing), config, split);
}

}  // namespace hp
