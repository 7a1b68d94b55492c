// Checkpoints that people take for a backbone's weights.
#pragma once

#include <string>

#include "tools/checkpoints/checkpoint.h"

namespace hp {

// What the file is and what to do, as the start of a sentence ("the file holds ...; "), judged by its names; empty if
// nothing is known.
std::string mistake_in(const Checkpoint& checkpoint);

}  // namespace hp
