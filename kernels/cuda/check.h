// Failed calls of CUDA and its libraries become hp::Error. Free of templates and fmt, for quick compilation by nvcc.
#pragma once

#include <cuda_runtime.h>

namespace hp {

// `what` names the kernel or the call.
void check(cudaError_t status, const char* what);

}  // namespace hp
