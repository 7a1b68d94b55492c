// Which tensors each architecture consists of, computed from its block structure, and which architecture a set of
// tensors is.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/shape.h"

namespace hp {

struct ExpectedTensor {
  std::string name;  // canonical, as torchvision: "layer1.0.conv1.weight"
  Shape shape;
};

// The names that expected_tensors knows: resnet18 .. resnet152; cifar_resnet20 .. cifar_resnet110 with shortcuts
// without parameters (option A) and, with the suffix _b, with projections (option B).
std::vector<std::string> architecture_names();

// "resnet" or "cifar_resnet". Throws hp::Error for a name that architecture_names() lacks, naming those it has.
std::string family_of(std::string_view architecture);

// Every parameter and running statistic of the backbone, in the order of the computation. The classifier is not among
// them.
std::vector<ExpectedTensor> expected_tensors(std::string_view architecture);

// The channels of the feature map: the columns of a classifier.
int64_t feature_channels(std::string_view architecture);

// How well an architecture fits: tensors with the right name and shape, and those that are missing or wrong.
struct Fit {
  std::string architecture;
  size_t matching = 0, wrong = 0;

  size_t distance(size_t found) const { return wrong + (found - matching); }  // among `found` tensors
};

// The architecture (of the families, or of all if there are none) that differs from `found` in the fewest tensors.
Fit nearest_architecture(const std::map<std::string, Shape>& found, std::span<const std::string> families);

}  // namespace hp
