#include "tests/tools/experiment/synthetic.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "models/backbone.h"
#include "runtime/safetensors.h"
#include "tests/golden/formula.h"
#include "tools/checkpoints/conversion.h"

namespace hp::test {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::array<std::array<double, 3>, synthetic_classes> colours = {
    {{220, 40, 40}, {40, 200, 60}, {50, 70, 230}, {220, 200, 40}, {200, 50, 210}, {40, 200, 210}}};

uint8_t grey_level(double value) { return static_cast<uint8_t>(std::clamp(value, 0.0, 255.0)); }

Picture noise_picture(const std::string& name, int64_t side, double mean, double spread) {
  Picture picture{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side * 3))};
  const uint32_t seed = golden::fnv1a(name);
  for (size_t i = 0; i < picture.rgb.size(); ++i) picture.rgb[i] = grey_level(mean + spread * golden::uniform(i, seed));
  return picture;
}

// A shape of the VOC pictures: kind 0 is a disc, 1 a ring, 2 a square.
struct Thing {
  int kind, x, y, radius;
  bool difficult;
};

void draw(Picture& picture, const Thing& thing) {
  for (int y = thing.y - thing.radius; y <= thing.y + thing.radius; ++y) {
    for (int x = thing.x - thing.radius; x <= thing.x + thing.radius; ++x) {
      const double distance = std::hypot(x - thing.x, y - thing.y);
      const bool inside =
          thing.kind == 2 || (distance <= thing.radius && (thing.kind == 0 || distance > 0.5 * thing.radius));
      if (!inside || x < 0 || y < 0 || x >= picture.width || y >= picture.height) continue;
      for (size_t c = 0; c < 3; ++c)
        picture.rgb[static_cast<size_t>(y * picture.width + x) * 3 + c] =
            grey_level(colours[static_cast<size_t>(thing.kind)][c]);
    }
  }
}

constexpr std::array<const char*, 3> kinds = {"disc", "ring", "square"};

std::vector<Thing> things_of(int ordinal, int side) {
  const uint32_t seed = golden::fnv1a("things");
  std::vector<Thing> things;
  for (int kind = 0; kind < 3; ++kind) {
    const auto draw_at = [&](uint64_t what) {
      return static_cast<int>(
          golden::mix(static_cast<uint64_t>(ordinal) * 100 + static_cast<uint64_t>(kind) * 10 + what, seed) >> 8U);
    };
    if (draw_at(0) % 2 == 0 && ordinal % 3 != kind) continue;
    const int radius = 6 + draw_at(1) % 5;
    things.push_back({kind, radius + draw_at(2) % (side - 2 * radius), radius + draw_at(3) % (side - 2 * radius),
                      radius, draw_at(4) % 10 == 0});
  }
  return things;
}

std::string annotation_of(const std::vector<Thing>& things, const std::string& id, int side) {
  std::string text = fmt::format(
      "<annotation><filename>{}.png</filename><size><width>{}</width><height>{}</height><depth>3</depth></size>\n", id,
      side, side);
  for (const Thing& thing : things) {
    text += fmt::format(
        "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
        "<ymax>{}</ymax></bndbox></object>\n",
        kinds[static_cast<size_t>(thing.kind)], thing.difficult ? 1 : 0, thing.x - thing.radius + 1,
        thing.y - thing.radius + 1, thing.x + thing.radius + 1, thing.y + thing.radius + 1);
  }
  return text + "</annotation>\n";
}

}  // namespace

Picture striped_picture(int category, int ordinal, int64_t side) {
  Picture picture = noise_picture(fmt::format("picture {} {}", category, ordinal), side, 0, 24);
  const std::array<double, 3>& colour = colours[static_cast<size_t>(category)];
  const double angle = category * 3.14159265 / synthetic_classes, period = 5 + category % 3 * 2, shift = ordinal * 0.7;
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      const double along = std::cos(angle) * static_cast<double>(x) + std::sin(angle) * static_cast<double>(y);
      const double stripe = 0.55 + 0.45 * std::sin(6.2831853 * along / period + shift);
      for (size_t c = 0; c < 3; ++c) {
        const size_t at = static_cast<size_t>(y * side + x) * 3 + c;
        const double noise = 24.0 * golden::uniform(at, golden::fnv1a(fmt::format("{} {}", category, ordinal)));
        picture.rgb[at] = grey_level(colour[c] * stripe + noise);
      }
    }
  }
  return picture;
}

void write_image_folder(const fs::path& root, int train_per_class, int test_per_class) {
  for (int category = 0; category < synthetic_classes; ++category) {
    for (int i = 0; i < train_per_class + test_per_class; ++i) {
      const fs::path folder = root / (i < train_per_class ? "train" : "test") / fmt::format("class{}", category);
      fs::create_directories(folder);
      write_png(folder / fmt::format("{:03}.png", i), striped_picture(category, i));
    }
  }
}

void write_voc(const fs::path& root, int train, int test) {
  for (const char* folder : {"Annotations", "JPEGImages", "ImageSets/Main"}) fs::create_directories(root / folder);
  constexpr int side = 64;
  std::string lists[2];
  for (int i = 0; i < train + test; ++i) {
    const std::string id = fmt::format("{:04}", i);
    const std::vector<Thing> things = things_of(i, side);
    Picture picture = noise_picture("voc " + id, side, 110, 40);
    for (const Thing& thing : things) draw(picture, thing);
    write_png(root / "JPEGImages" / (id + ".png"), picture);
    write_file(root / "Annotations" / (id + ".xml"), annotation_of(things, id, side));
    lists[i < train ? 0 : 1] += id + "\n";
  }
  write_file(root / "ImageSets/Main/trainval.txt", lists[0]);
  write_file(root / "ImageSets/Main/test.txt", lists[1]);
}

Parameters synthetic_weights() {
  const Graph graph = build_backbone("cifar_resnet20", {1, 32, 32}).graph;
  Parameters parameters;
  const auto set = [&](const std::string& name, const Shape& shape) {
    std::vector<int64_t> extents;
    for (int i = 0; i < shape.rank(); ++i) extents.push_back(shape[i]);
    parameters.set(name, Tensor::host(shape, golden::parameter(name, extents, golden::is_last_norm(name, false))));
  };
  for (const Node& node : graph.nodes()) {
    if (node.kind == OpKind::parameter && !node.name.starts_with("model_input.")) set(node.name, node.shape);
  }
  set("head.weight", {synthetic_classes, 64});
  set("head.bias", {synthetic_classes});
  return parameters;
}

void write_weights(const fs::path& file) {
  const fs::path source = fs::path(file).concat(".source");
  save_safetensors(source, synthetic_weights());
  const Checkpoint checkpoint = read_checkpoint(source);
  ConversionOptions options;
  options.architecture = "cifar_resnet20";
  save_safetensors(file, convert(checkpoint, plan_conversion(checkpoint, options), source));
  fs::remove(source);
}

json grid_experiment(const fs::path& folder) {
  return json::parse(fmt::format(R"({{
    "name": "synthetic", "seed": 3, "threads": 1,
    "backbone": {{"weights": "{0}/weights.safetensors"}},
    "data": {{"type": "image-folder", "root": "{0}/data", "batch_size": 16}},
    "probes": [{{"name": "linear-ce"}}, {{"name": "linear-bce", "loss": "bce", "learning_rate": 1}}],
    "training": {{"epochs": 20, "batch_size": 24}},
    "attributions": [
      {{"method": "ixg"}}, {{"method": "gradient"}}, {{"method": "guided_backprop"}},
      {{"method": "intgrad", "options": {{"nodes": 4}}}}, {{"method": "gradcam"}}, {{"method": "lrp"}}
    ],
    "evaluations": [
      {{"metric": "gridpg", "cells": 2, "grids": 4, "confidence": 0}},
      {{"metric": "entropy", "cells": 2, "grids": 4, "confidence": 0, "methods": ["ixg", "lrp"]}},
      {{"metric": "gini", "cells": 2, "grids": 3, "confidence": 0, "methods": ["lrp"]}}
    ],
    "statistics": {{"resamples": 200}},
    "output": {{"gallery": 2, "layers": ["layer1.2", "layer3.*.conv1"]}}
  }})",
                                 folder.string()));
}

json voc_experiment(const fs::path& folder) {
  return json::parse(fmt::format(R"({{
    "name": "synthetic-voc", "seed": 3, "threads": 1,
    "backbone": {{"weights": "{0}/weights.safetensors"}},
    "data": {{"type": "voc", "root": "{0}/voc", "batch_size": 16, "preprocess": {{"resize": "squash", "size": 32}}}},
    "probes": [{{"name": "linear-bce", "loss": "bce"}}, {{"name": "linear-uobce", "loss": "uo_bce"}}],
    "training": {{"epochs": 60, "batch_size": 24, "learning_rate": 0.5}},
    "attributions": [{{"method": "gradcam"}}, {{"method": "lrp"}}],
    "evaluations": [{{"metric": "epg"}}, {{"metric": "gini", "on": "images", "images": 10}}],
    "statistics": {{"resamples": 200}},
    "output": {{"gallery": 2}}
  }})",
                                 folder.string()));
}

void write_inputs(const fs::path& folder) {
  write_image_folder(folder / "data");
  write_weights(folder / "weights.safetensors");
}

Outcome run_here(const json& experiment, const fs::path& output, bool cancelled) {
  const std::atomic<bool> stop = cancelled;
  return run_experiment(Experiment::parse(experiment, "."), {output, false}, stop);
}

json results_of(const fs::path& output) {
  json results = json::parse(read_file(output / "results.json"));
  results["facts"].erase("time");
  return results;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace hp::test
