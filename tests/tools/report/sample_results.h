// Results as a run of three probes and four methods makes them, with pictures.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "attribution/image.h"
#include "tools/experiment/results.h"

namespace hp::test {

inline Summary summary(double mean, double half, int64_t count = 450, int64_t samples = 50) {
  return {mean, 4 * half, Interval{mean - half, mean + half}, count, samples, 0};
}

// A blob at (x, y) of a side x side map, with a negative ring.
inline std::vector<float> blob(int64_t side, double x, double y, double width) {
  std::vector<float> map(static_cast<size_t>(side * side));
  for (int64_t i = 0; i < side * side; ++i) {
    const double dx = static_cast<double>(i % side) / static_cast<double>(side) - x;
    const double dy = static_cast<double>(i / side) / static_cast<double>(side) - y;
    const double r = (dx * dx + dy * dy) / (width * width);
    map[static_cast<size_t>(i)] =
        static_cast<float>((1 - r) * std::exp(-r) + 0.1 * std::sin(40 * dx) * std::sin(31 * dy));
  }
  return map;
}

inline void add_evaluation(Results& results, const std::string& metric, const std::vector<std::vector<double>>& means,
                           double half) {
  const std::vector<std::string> methods = {"ixg", "gradcam", "lrp", "intgrad"};
  for (size_t m = 0; m < methods.size(); ++m) {
    for (size_t p = 0; p < results.probes.size(); ++p) {
      results.rows.push_back({metric, metric, methods[m], results.probes[p].name, summary(means[m][p], half)});
      for (size_t q = 0; q < p; ++q) {
        results.differences.push_back({metric, metric, methods[m], results.probes[p].name, results.probes[q].name,
                                       summary(means[m][p] - means[m][q], half * 0.8)});
      }
    }
  }
}

inline ProbeResult sample_probe(const std::string& name, const std::string& loss, double top1, double start) {
  ProbeResult probe{name, "linear", loss, loss == "ce" ? 0.1 : 1.0, top1, 0.99, {}, {}, {}, {}};
  for (int epoch = 0; epoch < 30; ++epoch) {
    probe.training_loss.push_back(start * (0.35 + 0.65 * std::exp(-epoch / 5.0)));
    probe.training_top1.push_back(top1 + 0.03 - 0.3 * std::exp(-epoch / 3.0));
  }
  return probe;
}

inline Results sample_results() {
  Results r;
  r.name = "cifar10-r56-three-losses";
  r.experiment = {{"name", r.name},
                  {"seed", 1},
                  {"statistics", {{"confidence", 0.95}, {"resamples", 2000}}},
                  {"evaluations", {{{"metric", "gridpg"}, {"cells", 3}}, {{"metric", "entropy"}, {"cells", 3}}}},
                  {"url", "http://example.org"}};
  r.classes = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  r.facts = {{"backbone", "cifar_resnet56, 0.85 M parameters"},
             {"data", "image-folder: 5000 train, 2000 test images, 10 classes"},
             {"seed", "1"},
             {"device", "cpu, 2 threads, AVX-512"},
             {"duration", "4 min 12 s (features 1 min 3 s, training 9 s, maps 3 min)"},
             {"version", "0.1.0"}};
  r.notes = {"2 of 5000 training images could not be read: cat/0001.jpg, dog/0421.jpg.",
             "linear-bce: 3.1 % of the explained logits are negative.",
             "intgrad: completeness within 0.8 % (median) and 4.1 % (largest)."};
  r.probes = {sample_probe("linear-ce", "ce", 0.8635, 0.6), sample_probe("linear-bce", "bce", 0.8590, 0.18),
              sample_probe("linear-uobce", "uo_bce", 0.8575, 0.21)};
  add_evaluation(r, "gridpg",
                 {{0.191, 0.204, 0.203}, {0.412, 0.535, 0.541}, {0.302, 0.371, 0.378}, {0.22, 0.24, 0.262}}, 0.0132);
  add_evaluation(r, "entropy", {{8.61, 8.59, 8.60}, {7.12, 6.71, 6.74}, {7.95, 7.71, 7.73}, {8.42, 8.41, 8.44}}, 0.06);
  r.complete = true;
  return r;
}

// Pictures in `folder`/maps, and the gallery that names them.
inline void add_gallery(Results& results, const std::filesystem::path& folder, int items = 2) {
  std::filesystem::create_directories(folder / "maps");
  for (int i = 0; i < items; ++i) {
    const double x = 0.2 + 0.3 * (i % 3), y = 0.5;
    GalleryItem item{"gridpg",
                     fmt::format("grid {}", i),
                     fmt::format("cell {}: {}", i, results.classes[5 + i]),
                     fmt::format("maps/{}-input.png", i),
                     {}};
    std::vector<float> image;
    for (const float v : blob(96, x, y, 0.4)) image.insert(image.end(), {0.5f + v / 3, 0.4f + v / 2, 0.6f - v / 3});
    write_png(folder / item.input, picture_of(image, 96, 96));
    for (const char* method : {"ixg", "gradcam", "lrp", "intgrad"}) {
      for (const ProbeResult& probe : results.probes) {
        const std::string name = fmt::format("maps/{}-{}-{}.png", i, method, probe.name);
        write_png(folder / name,
                  heat_picture(blob(96, x, y, 0.08 + 0.02 * static_cast<double>(item.maps.size())), 96, 96));
        item.maps.push_back({method, probe.name, name});
      }
    }
    results.gallery.push_back(std::move(item));
  }
}

}  // namespace hp::test
