// Whether converted weights compute what their original did: numbers that the user exported, compared.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/parameters.h"
#include "runtime/tensor.h"

namespace hp {

// RGB in [0, 1], [1, side, side, 3]: ((7 channel + 3 row + 5 column) mod 17) / 16, which every language makes exactly.
Tensor verification_image(int64_t side);

// Images of an .npy as the original takes them but for the normalisation, [batch, 3, height, width], RGB in [0, 1].
Tensor verification_images(const std::filesystem::path& npy);

struct Verification {
  std::string what;    // "logits", "features"
  double error = 0;    // |got - expected|_2 / |expected|_2
  double largest = 0;  // of a single element, relative to the largest expected one
};

// Runs the network of `weights`, converted and with its metadata, on images [batch, height, width, 3] and compares with
// `expected`: [batch, classes] are the logits of its own classifier, [batch, channels] the mean of its features,
// [batch, channels, height, width] the features. Throws hp::Error where nothing of the network has this shape.
Verification verify(const Parameters& weights, const Tensor& images, const Tensor& expected);

// The side of the images that the network was made for, of its metadata.
int64_t native_side_of(const Parameters& weights);

}  // namespace hp
