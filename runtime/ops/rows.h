// Rows: how ops that work along the last axis show a tensor to the kernels.
#pragma once

#include "runtime/kernels.h"
#include "runtime/tensor.h"

namespace hp {

// [..., channels] as rows of channels.
inline Rows rows_of(const Tensor& x) { return {x.shape().rows(), x.shape().columns()}; }

}  // namespace hp
