// The plan of a run as text: what would be done, and what it is expected to cost.
#pragma once

#include <string>

#include "tools/experiment/network.h"
#include "tools/experiment/split.h"

namespace hp {

std::string plan_text(const Experiment& experiment, const Network& network, const SplitData& train,
                      const SplitData& test);

// Floating-point operations of one forward pass of the backbone on one image (or grid) of the given size.
double forward_flops(const Network& network, int64_t height, int64_t width);

}  // namespace hp
