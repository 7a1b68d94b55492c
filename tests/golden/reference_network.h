// The networks that the golden files are about, with the weights and images that README.md describes.
#pragma once

#include <optional>
#include <string>

#include "models/backbone.h"
#include "probes/probe.h"
#include "tests/golden/golden_data.h"

namespace hp::golden {

struct ReferenceNetwork {
  std::string name;
  Backbone backbone;       // for one image
  std::string classifier;  // the node that gives the logits, as the golden files call it: "linear" or "fc"
  std::string weights;     // "head" or "fc": prefix of its parameters
  int64_t classes = 0;
  Parameters parameters;  // before folding, the classifier's among them

  // Global pooling and the classifier behind `features`; returns the logits [batch, classes].
  Value append_classifier(Graph& graph, Value features) const;
  Graph with_classifier() const;
  Head head() const;
};

// resnet20 and resnet56 have trained weights; none, with a message, where those or the images are not here.
std::optional<ReferenceNetwork> reference_network(const std::string& name);

// The images that an end-to-end file is about, [images, height, width, 3] in [0, 1].
Tensor golden_images(const GoldenFile& file);

}  // namespace hp::golden
