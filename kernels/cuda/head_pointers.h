// The addresses of all heads of all images, for a product whose operands lie in strides of their own.
#pragma once

#include "kernels/cuda/cuda_state.h"

namespace hp {

// Head h of image i begins at data + (i mod images) * image + h * head.
struct HeadsOperand {
  const float* data = nullptr;
  int64_t images = 1, image = 0, head = 0;
};

// Device memory: 3 * batch * heads addresses, first all of `operands[0]`, in the order image, head.
const float** head_pointers(CudaState& state, int64_t batch, int64_t heads, const HeadsOperand (&operands)[3]);

}  // namespace hp
