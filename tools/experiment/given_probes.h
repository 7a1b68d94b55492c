// Probes whose weights were made elsewhere: the classifier of the backbone's file, or a probe file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "probes/probe.h"
#include "tools/experiment/experiment.h"
#include "tools/experiment/network.h"

namespace hp {

// The experiment with the settings that the files of given probes hold: their kind of head decides what is computed of
// the features. Throws hp::Error where a file is no probe.
Experiment with_given_heads(Experiment experiment);

// Probe number `index` if its weights are given, its classes in the data's order; nothing if it is to be trained.
// Throws hp::Error if it does not fit the backbone or the classes.
std::optional<Probe> given_probe(const Experiment& experiment, const Network& network,
                                 const std::vector<std::string>& classes, size_t index);

}  // namespace hp
