// Which tensors each architecture consists of, and which architecture a set of tensors is.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/shape.h"

namespace hp {

struct ExpectedTensor {
  std::string name;  // canonical, as torchvision: "layer1.0.conv1.weight"
  Shape shape;
};

struct Architecture {
  std::string name;
  // Every parameter and running statistic of the backbone, in the order of the computation. The classifier and the
  // normalisation of the image are not among them.
  std::vector<ExpectedTensor> tensors;
  int64_t channels;  // of the feature map: the columns of a classifier
};

// Reads an architecture off the graph that models/ builds. Throws hp::Error with the known names for an unknown one.
Architecture examine_architecture(const std::string& name);

// The known architectures that one of the patterns ("resnet*") names.
std::vector<std::string> matching_architectures(std::span<const std::string> patterns);

// How much of an architecture is among some tensors.
struct Fit {
  size_t matching = 0;  // its tensors that are there with the right shape
  size_t expected = 0;  // its tensors
  size_t found = 0;     // the tensors that were looked at

  // Tensors in both, divided by tensors in either: 1 for the architecture itself.
  double similarity() const { return static_cast<double>(matching) / static_cast<double>(expected + found - matching); }
};

Fit fit_of(const Architecture& architecture, const std::map<std::string, Shape>& found);

}  // namespace hp
