// Tensors between host and device, as training keeps them and its state files hold them.
#pragma once

#include <string>

#include "runtime/kernels.h"
#include "runtime/parameters.h"

namespace hp {

Tensor zeros(Kernels& kernels, const Shape& shape);  // new device memory
Tensor to_host(Kernels& kernels, const Tensor& tensor);
// Copies a state's tensor to the device. Throws hp::Error if it is missing or of another shape.
void read_state(Kernels& kernels, const Parameters& state, const std::string& name, const Tensor& into);

// The optimiser's steps among a state's metadata; reading throws hp::Error if they are not there.
void write_steps(Parameters& state, int64_t steps);
int64_t read_steps(const Parameters& state);

}  // namespace hp
