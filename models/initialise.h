// Initial values of a network that is trained from scratch.
#pragma once

#include <cstdint>

#include "runtime/graph.h"
#include "runtime/parameters.h"

namespace hp {

// Sets every parameter of `graph` that `parameters` lacks. Convolutions: normal with variance 2 / (filters *
// kernel area), He et al. 2015 by fan-out as in torchvision; linear layers, class tokens and position embeddings:
// normal with deviation 0.02 (Dosovitskiy et al. 2021, as in timm); norms: weight 1, bias 0, running mean 0, running
// variance 1; biases 0. `zero_residual`: the last batch norm of each residual branch starts with weight 0, so that
// blocks start as identities (Goyal et al. 2017; mmpretrain's default). The numbers depend on the seed and the
// parameter's name alone.
void initialise(const Graph& graph, uint64_t seed, bool zero_residual, Parameters& parameters);

}  // namespace hp
