#include "kernels/cuda/check.h"

#include "runtime/error.h"

namespace hp {

void check(cudaError_t status, const char* what) {
  require(status == cudaSuccess, "[cuda] {} failed; got '{}'; expected success", what, cudaGetErrorString(status));
}

}  // namespace hp
