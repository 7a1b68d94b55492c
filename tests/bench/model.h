// The network that works are timed on: a ResNet with torchvision's classifier, by formula or from a file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "probes/probe.h"
#include "runtime/fold.h"

namespace hp::bench {

struct Model {
  std::string architecture;
  Parameters parameters;  // as a converted file has them: batch norms unfolded, classifier "head.weight", "head.bias"
};

// Weights of tests/golden/formula.h, 1000 classes, ImageNet's normalisation.
Model formula_model(const std::string& architecture);
// A file of convert-weights with a classifier. Throws hp::Error if it is none.
Model load_model(const std::filesystem::path& path);
// Writes what load_model() reads.
void save_model(const std::filesystem::path& path, const Model& model);

// The backbone for square images, its batch norms folded.
Folded folded_backbone(const Model& model, int64_t size);

// The classifier as torchvision has it: global pooling, then a linear op. Heads of other indices have the same weights
// in another order of classes, as further probes on the same features.
Head classifier(const Model& model, const Folded& backbone, int index);

// [batch, size, size, 3] in [0, 1) by formula; peers.py makes the same.
Tensor formula_image(int64_t batch, int64_t size);

}  // namespace hp::bench
