// The network that works are timed on: any backbone, with its classifier where it has one, by formula or from a file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "probes/probe.h"
#include "runtime/fold.h"

namespace hp::bench {

struct Model {
  std::string architecture;
  // As a converted file has them: batch norms unfolded; the classifier, if any, "head.weight" and "head.bias" or, of
  // B-cos networks, "head.linear.weight".
  Parameters parameters;

  bool is_bcos() const { return architecture.starts_with("bcos_"); }
};

// Weights of tests/golden/formula.h, 1000 classes, ImageNet's normalisation. Uncentred norms have the variances of a
// formula image: others would let the values of B-cos layers vanish.
Model formula_model(const std::string& architecture);
// A file of convert-weights. Throws hp::Error if it is none.
Model load_model(const std::filesystem::path& path);
// Writes what load_model() reads.
void save_model(const std::filesystem::path& path, const Model& model);

// The backbone for square images, its batch norms folded.
Folded folded_backbone(const Model& model, int64_t size);

// The classifier: global pooling, then a linear op; of B-cos networks a B-cos layer, then the pooling; the pooled
// features themselves where there is none. Linear heads of other indices have the same weights in another order of
// classes, as further probes on the same features.
Head classifier(const Model& model, const Folded& backbone, int index, Kernels& kernels);

// [batch, size, size, 3] in [0, 1) by formula; peers.py makes the same.
Tensor formula_image(int64_t batch, int64_t size);

}  // namespace hp::bench
