// Columns: the input gradient of a convolution with few channels and a large kernel (the first layer of an image
// network) as a matrix product and a sum over windows, where oneDNN's own primitive leaves most of its lanes empty: on
// the 7x7 stem of ResNet-50 it reaches a twentieth of the machine's peak.
#pragma once

#include <string>

#include "runtime/kernels.h"

namespace hp {

// Whether the input gradient of this shape goes this way; it does not depend on the batch.
bool uses_columns(const Conv2d& conv);

// The matrix [filters, kernel_height, kernel_width, channels] that the product takes.
std::string columns_format(const Conv2d& conv);

}  // namespace hp
