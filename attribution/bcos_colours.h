// The colour image of a B-cos network: its dynamic linear weights for a class, drawn in the colours that they ask for.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attribution/image.h"

namespace hp {

struct BcosColours {
  int64_t smoothing = 15;    // side of the window that opacity is averaged over, odd
  double percentile = 99.5;  // of the opacities: what becomes fully opaque
};

// weights W and input x: [height, width, 6], the channels r, g, b, 1-r, 1-g, 1-b. Gives [height, width, 4] in [0, 1]:
// per pixel V = max(W / (max |W| + 1e-12), 0), colour V_rgb / (V_rgb + V_inverse + 1e-12), opacity |W|_2, 1e-12 where
// the contribution sum x W is below 0, then averaged over the window (padding counted as 0) and divided by its
// percentile (attribution.md E.3). Throws hp::Error where the sizes do not fit.
std::vector<float> bcos_colours(std::span<const float> weights, std::span<const float> input, int64_t height,
                                int64_t width, BcosColours options = {});

// The same on white.
Picture bcos_picture(std::span<const float> weights, std::span<const float> input, int64_t height, int64_t width,
                     BcosColours options = {});

}  // namespace hp
