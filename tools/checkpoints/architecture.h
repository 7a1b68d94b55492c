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
  int64_t channels;         // of the feature map: the columns of a classifier
  int64_t native_side = 0;  // Backbone::native_side
};

// Equal but for extents of 1 in front: a class token may be stored as [channels] or [1, 1, channels].
bool same_extents(const Shape& a, const Shape& b);

// Reads an architecture off the graph that models/ builds. Throws hp::Error with the known names for an unknown one.
Architecture examine_architecture(const std::string& name);

// Architectures that were examined before are not built again.
class Architectures {
 public:
  const Architecture& examine(const std::string& name);

 private:
  std::map<std::string, Architecture> known_;
};

// The known architectures that one of the patterns ("resnet*") names.
std::vector<std::string> matching_architectures(std::span<const std::string> patterns);

// How much of an architecture is among some tensors.
struct Fit {
  size_t matching = 0;  // its tensors that are there with the right shape
  size_t named = 0;     // its tensors that are there, whatever their shape
  size_t expected = 0;  // its tensors
  size_t found = 0;     // the tensors that were looked at

  // Tensors in both, divided by tensors in either: 1 for the architecture itself.
  double similarity() const { return static_cast<double>(matching) / static_cast<double>(expected + found - matching); }
};

Fit fit_of(const Architecture& architecture, const std::map<std::string, Shape>& found);

}  // namespace hp
