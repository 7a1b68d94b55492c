// Backbone: a network without its classifier, as a graph from RGB in [0, 1] to `features`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/graph.h"
#include "runtime/parameters.h"

namespace hp {

struct ImageShape {
  int64_t batch = 1, height = 224, width = 224;
};

// Node names that every backbone has: "image" (the input, RGB in [0, 1], [batch, height, width, 3]), "model_input" (the
// normalised image, or that of a B-cos network with its inverse, 6 channels: gradients, Input x Gradient, Integrated
// Gradients, LRP and B-cos maps are read there), "features" (what probes read, [batch, height, width, channels], also
// known by its own name). Parameters "model_input.mean" and "model_input.variance" hold the normalisation; the other
// names are torchvision's, those of CLIP's visual tower, or timm's.
struct Backbone {
  std::string architecture;
  Graph graph;
  int64_t native_side = 0;  // of the images that position embeddings were made for; 0: none is special
  int image() const { return graph.find("image"); }
  int model_input() const { return graph.find("model_input"); }
  int features() const { return graph.find("features"); }
  int64_t channels() const { return graph.node(features()).shape[-1]; }
};

// Settings stand behind the name (models/name.h); every ResNet takes a width, the channels of its first stage:
// "resnet18_w32". Throws hp::Error that lists the known architectures.
// `features`: what "features" is of a network with tokens; "" or "auto": what its own classifier reads, and the only
// choice elsewhere.
Backbone build_backbone(const std::string& architecture, ImageShape shape, const std::string& features = {});
std::vector<std::string> known_architectures();

// The architectures, with their settings, that tensors with these canonical names and shapes may be of: none, or one,
// or several that differ in what no tensor shows. The shapes are foreign input; what is returned can be built.
std::vector<std::string> architectures_of(const std::map<std::string, Shape>& tensors);

// Sets "model_input.mean" and "model_input.variance" from a per-channel mean and standard deviation on the [0, 1]
// scale.
void set_normalisation(Parameters& parameters, const std::vector<float>& mean,
                       const std::vector<float>& standard_deviation);

}  // namespace hp
