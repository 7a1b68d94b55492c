// The plan of a run as text: what would be done, and what it is expected to cost.
#pragma once

#include <string>

#include "tools/experiment/network.h"
#include "tools/experiment/split.h"

namespace hp {

std::string plan_text(const Experiment& experiment, const Network& network, const SplitData& train,
                      const SplitData& test);

}  // namespace hp
