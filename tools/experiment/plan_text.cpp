#include "tools/experiment/plan_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "attribution/method.h"
#include "runtime/subgraph.h"
#include "tools/text/units.h"

namespace hp {

namespace {

// The backbone for one image (or grid of side x side images).
Graph backbone_graph(const Network& network, int64_t side) {
  const Shape image{1, side * network.shape.height, side * network.shape.width, 3};
  return with_input_shapes(network.folded.graph, std::span(&image, 1));
}

}  // namespace

std::string plan_text(const Experiment& experiment, const Network& network, const SplitData& train,
                      const SplitData& test) {
  const double flops = forward_cost(backbone_graph(network, 1)).flops;
  const Shape map = network.feature_shape();
  std::string text = fmt::format("experiment   {}\n", experiment.name);
  text += fmt::format("backbone     {}, {}x{} images ({}), features {}, {:.2f} GFLOP an image\n", network.architecture,
                      network.shape.width, network.shape.height, network.preprocess.str(), map.str(), flops * 1e-9);
  text += fmt::format("data         {}: {} train, {} test images, {} classes{}\n", experiment.data.type,
                      train.images->size(), test.images->size(), train.images->classes().size(),
                      train.images->multi_label() ? ", multi-label" : "");
  if (experiment.pretrain) {
    const Recipe& recipe = experiment.pretrain->recipe;
    text += fmt::format("pre-training {} epochs in batches of {}, about {:.3g} GFLOP\n", recipe.epochs,
                        recipe.batch_size * recipe.accumulate,
                        3e-9 * flops * static_cast<double>(recipe.epochs * train.images->size()));
  }
  double features = 0, images = 0;
  for (const SplitData* split : {&train, &test}) {
    if (split == &train && !needs_train_features(experiment)) continue;
    const FeatureKey key = feature_key(experiment, network, *split, "");
    features += static_cast<double>(FeatureCache::expected_bytes(key, split->images->size(), map));
    images += static_cast<double>(split->images->size());
  }
  text += fmt::format("features     {} on disk{}, {:.3g} GFLOP\n", bytes_text(features),
                      experiment.half_features ? " (float16)" : "", images * flops * 1e-9);
  text += fmt::format("probes       {}, {} epochs in batches of {}", experiment.probes.size(), experiment.recipe.epochs,
                      experiment.recipe.batch_size);
  if (experiment.augmentation.active()) {
    const auto seen = static_cast<double>(experiment.recipe.epochs * train.images->size());
    text += fmt::format(", features of augmented pictures ({}) on the way, {:.3g} GFLOP", experiment.augmentation.str(),
                        seen * flops * 1e-9);
  }
  text += "\n";
  std::map<std::pair<ImageSet, std::string>, int64_t> work;  // images per set and method
  for (const EvaluationSpec& evaluation : experiment.evaluations) {
    const int64_t count = evaluation.count == 0 ? test.images->size() : evaluation.count;
    for (const std::string& method : evaluation.methods)
      work[{evaluation.images, method}] = std::max(work[{evaluation.images, method}], count);
  }
  for (const auto& [key, count] : work) {
    const auto& [set, method] = key;
    const int64_t side = set.cells;
    const auto spec = std::find_if(experiment.attributions.begin(), experiment.attributions.end(),
                                   [&, name = method](const AttributionSpec& a) { return a.name == name; });
    const MethodCost cost = make_attribution(spec->method, spec->options)->cost(backbone_graph(network, side));
    const double targets = static_cast<double>(set.cells * set.cells) * static_cast<double>(experiment.probes.size());
    text += fmt::format("explain      {} on {} {}, {:.0f} maps each, about {:.3g} GFLOP\n", method, count,
                        set.grids ? fmt::format("{}x{} grids", side, side) : "images", targets,
                        static_cast<double>(count) * (cost.shared + targets * cost.per_target).flops * 1e-9);
  }
  return text;
}

}  // namespace hp
