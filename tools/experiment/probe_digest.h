// Probe digest: what a probe computes, as one text, to notice that a file changed and that scores belong to others.
#pragma once

#include <string>

#include "probes/probe.h"

namespace hp {

// SHA-256 over its settings, but for the learning rate, and over every tensor with its name.
std::string digest_of(const Probe& probe);

}  // namespace hp
