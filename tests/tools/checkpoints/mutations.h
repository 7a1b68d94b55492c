// Damages checkpoint files in the ways that matter to their containers.
#pragma once

#include <random>
#include <string>

#include "tools/checkpoints/containers.h"

namespace hp::test {

// A copy of `file` with one to four changes: bytes and bits flipped, pieces cut out, inserted or repeated, the end cut
// off, integers (lengths, offsets, shapes) replaced by extreme ones where the container has them, nesting, names given
// twice. Half of the zip archives get their checksums put right again, so that the damage reaches the pickle.
std::string mutate(Container container, const std::string& file, std::mt19937& random);

}  // namespace hp::test
