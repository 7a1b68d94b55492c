// Backbone: a network without its classifier, as a graph from RGB in [0, 1] to `features`.
#pragma once

#include <string>
#include <vector>

#include "runtime/graph.h"
#include "runtime/parameters.h"

namespace hp {

struct ImageShape {
  int64_t batch = 1, height = 224, width = 224;
};

// Node names that every backbone has: "image" (the input, RGB in [0, 1], [batch, height, width, 3]), "model_input" (the
// normalised image: gradients, Input x Gradient, Integrated Gradients and LRP are read there), "features" (the last
// feature map, also known by its own name). Parameters "model_input.mean" and "model_input.variance" hold the
// normalisation; the other names are torchvision's.
struct Backbone {
  std::string architecture;
  Graph graph;
  int image() const { return graph.find("image"); }
  int model_input() const { return graph.find("model_input"); }
  int features() const { return graph.find("features"); }
  int64_t channels() const { return graph.node(features()).shape[-1]; }
};

// Every architecture takes a width, the channels of its first stage, behind its name: "resnet18_w32". Throws hp::Error
// that lists the known architectures.
Backbone build_backbone(const std::string& architecture, ImageShape shape);
std::vector<std::string> known_architectures();

// Sets "model_input.mean" and "model_input.variance" from a per-channel mean and standard deviation on the [0, 1]
// scale.
void set_normalisation(Parameters& parameters, const std::vector<float>& mean,
                       const std::vector<float>& standard_deviation);

}  // namespace hp
