#include "kernels/cuda/head_pointers.h"

#include "kernels/cuda/launch.cuh"

namespace hp {

namespace {

struct HeadPointers {
  HeadsOperand operands[3];
  int64_t batch, heads;
};

// The inner loop is short enough to be unrolled: an index in a register would put the operands into local memory.
__global__ void head_pointers_kernel(HeadPointers p, const float** out) {
  const int64_t each = p.batch * p.heads, step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < each; i += step) {
    const int64_t image = i / p.heads, head = i % p.heads;
    for (int which = 0; which < 3; ++which) {
      const HeadsOperand& operand = p.operands[which];
      out[which * each + i] = operand.data + image % operand.images * operand.image + head * operand.head;
    }
  }
}

}  // namespace

const float** head_pointers(CudaState& state, int64_t batch, int64_t heads, const HeadsOperand (&operands)[3]) {
  constexpr int threads = 256;
  const int64_t count = batch * heads;
  auto** out = static_cast<const float**>(
      state.scratch(CudaState::Scratch::head_pointers, 3 * static_cast<size_t>(count) * sizeof(const float*)));
  const HeadPointers task{{operands[0], operands[1], operands[2]}, batch, heads};
  launch(state, "head_pointers", {dim3(state.blocks(divide_up(count, threads))), dim3(threads)}, head_pointers_kernel,
         task, out);
  return out;
}

}  // namespace hp
