// Matrix products by cuBLAS.
#include <cublas_v2.h>

#include <climits>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_state.h"
#include "kernels/cuda/head_pointers.h"
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

cublasComputeType_t compute_type(MathMode math) {
  if (math == MathMode::bf16) return CUBLAS_COMPUTE_32F_FAST_16BF;
  return math == MathMode::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

// How an operand of HeadsMatmul is stored: rows x columns per head, of a map or among the channels of tokens.
struct HeadsLayout {
  int64_t rows, columns, heads;
  bool is_map;
  int64_t image() const { return rows * columns * heads; }
  int64_t head() const { return is_map ? rows * columns : columns; }
  int leading() const { return narrow(is_map ? columns : heads * columns); }
  HeadsOperand operand(const float* data, int64_t images) const { return {data, images, image(), head()}; }
};

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
  const auto type = compute_type(state_->math());
  // By columns, as cuBLAS has it, the product of rows y = a b is y^T = b^T a^T.
  check(cublasGemmStridedBatchedEx(state_->cublas().handle(), p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                                   p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, n, m, k, &one, b, CUDA_R_32F,
                                   p.transpose_b ? k : n, p.k * p.n, a, CUDA_R_32F, p.transpose_a ? m : k, p.m * p.k,
                                   &zero, y, CUDA_R_32F, n, p.m * p.n, narrow(p.batch), type, CUBLAS_GEMM_DEFAULT),
        "matmul");
}

// A batch of the library has one stride, which is enough for the heads of one image; those of several are listed.
void CudaKernels::heads_matmul(const HeadsMatmul& p, const float* a, const float* b, float* y) {
  const HeadsLayout la{p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.heads, p.map == HeadsMatmul::Map::a};
  const HeadsLayout lb{p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.heads, p.map == HeadsMatmul::Map::b};
  const HeadsLayout ly{p.m, p.n, p.heads, p.map == HeadsMatmul::Map::y};
  const float zero = 0;
  const int m = narrow(p.m), n = narrow(p.n), k = narrow(p.k);
  const auto type = compute_type(state_->math());
  const auto op_a = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, op_b = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasHandle_t handle = state_->cublas().handle();
  if (p.batch == 1) {
    check(cublasGemmStridedBatchedEx(handle, op_b, op_a, n, m, k, &p.scale, b, CUDA_R_32F, lb.leading(), lb.head(), a,
                                     CUDA_R_32F, la.leading(), la.head(), &zero, y, CUDA_R_32F, ly.leading(), ly.head(),
                                     narrow(p.heads), type, CUBLAS_GEMM_DEFAULT),
          "heads_matmul");
  } else {
    const int64_t count = p.batch * p.heads;
    const float** at = head_pointers(*state_, p.batch, p.heads,
                                     {la.operand(a, p.a_images), lb.operand(b, p.b_images), ly.operand(y, p.batch)});
    const auto addresses = [&](int64_t operand) { return reinterpret_cast<const void* const*>(at + operand * count); };
    const auto results = reinterpret_cast<void* const*>(const_cast<float**>(at + 2 * count));
    check(cublasGemmBatchedEx(handle, op_b, op_a, n, m, k, &p.scale, addresses(1), CUDA_R_32F, lb.leading(),
                              addresses(0), CUDA_R_32F, la.leading(), &zero, results, CUDA_R_32F, ly.leading(),
                              narrow(count), type, CUBLAS_GEMM_DEFAULT),
          "heads_matmul");
  }
  if (p.softmax) softmax({p.batch * p.heads * p.m, p.n}, y, y);
}

}  // namespace hp
