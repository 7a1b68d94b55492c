// Model: the network that hp-inspect looks at, from a converted checkpoint or from the name of an architecture.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "attribution/composites.h"
#include "probes/probe.h"
#include "tools/experiment/network.h"

namespace hp {

struct ModelChoice {
  std::string model;            // a file made by convert-weights, or an architecture
  std::filesystem::path probe;  // a trained probe to use as the classifier; empty: the checkpoint's own
  std::filesystem::path image;  // decides the size where the preprocessing leaves images as they are; may be empty
  int64_t side = 0;             // of square images; 0: as the model or the image has it
};

struct Model {
  std::string name;  // as it was given
  Network network;   // for a batch of one; of an architecture alone, all weights are 0
  bool has_weights = false;
  std::optional<Probe> probe;  // none: the checkpoint came without a classifier
  Graph head;                  // the probe's, for evaluation, on the network's features; empty without a probe

  const Graph& backbone() const { return network.folded.graph; }
  InputBox box() const;  // of an architecture alone: [0, 1]
};

// Throws hp::Error that names what is wrong with the file, and the known architectures where it is neither.
Model open_model(const ModelChoice& choice);

// The picture after the model's preprocessing: [1, height, width, 3] in [0, 1], in host memory.
Tensor load_image(const Model& model, const std::filesystem::path& image);

// A composite by its name, or as JSON in the form that an experiment file has it.
CompositeSpec parse_composite(const std::string& text);

}  // namespace hp
