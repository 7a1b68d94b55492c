// Matrix products by cuBLAS.
#include <cublas_v2.h>

#include <climits>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_state.h"
#include "runtime/error.h"

namespace hp {

namespace {

void check(cublasStatus_t status, const char* what) {
  require(status == CUBLAS_STATUS_SUCCESS, "[cuda] {} failed in cuBLAS; got {}; expected success", what,
          cublasGetStatusString(status));
}

int narrow(int64_t value) {
  require(value >= 0 && value <= INT_MAX,
          "[cuda] matrix too large for cuBLAS; got an extent of {}; expected at most {}", value, INT_MAX);
  return static_cast<int>(value);
}

}  // namespace

class CublasState {
 public:
  explicit CublasState(cudaStream_t stream) {
    check(cublasCreate(&handle_), "cublasCreate");
    check(cublasSetStream(handle_, stream), "cublasSetStream");
  }
  ~CublasState() { cublasDestroy(handle_); }
  CublasState(const CublasState&) = delete;
  CublasState& operator=(const CublasState&) = delete;

  cublasHandle_t handle() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
};

void FreeCublas::operator()(CublasState* state) const { delete state; }

CublasState& CudaState::cublas() {
  if (!cublas_) cublas_.reset(new CublasState(stream_));
  return *cublas_;
}

void CudaKernels::matmul(const Matmul& p, const float* a, const float* b, float* y) {
  const float one = 1, zero = 0;
  const int m = narrow(p.m), n = narrow(p.n), k = narrow(p.k);
  const auto type = state_->math() == MathMode::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  // By columns, as cuBLAS has it, the product of rows y = a b is y^T = b^T a^T.
  check(cublasGemmStridedBatchedEx(state_->cublas().handle(), p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                                   p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, &one, b, CUDA_R_32F,
                                   p.transpose_b ? k : n, p.k * p.n, a, CUDA_R_32F, p.transpose_a ? m : k, p.m * p.k,
                                   &zero, y, CUDA_R_32F, n, p.m * p.n, narrow(p.batch), type, CUBLAS_GEMM_DEFAULT),
        "matmul");
}

}  // namespace hp
