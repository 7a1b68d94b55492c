// Everything that can be wrong with an experiment, found before an hour has been spent on it.
#pragma once

#include "tools/experiment/network.h"
#include "tools/experiment/split.h"

namespace hp {

// Looks at the experiment in the light of its network and data. Throws hp::Error with the JSON path, or the name of the
// probe or evaluation, of the first thing that cannot work.
void check_experiment(const Experiment& experiment, const Network& network, const SplitData& train,
                      const SplitData& test);

}  // namespace hp
