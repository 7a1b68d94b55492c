#include <cublas_v2.h>

#include <vector>

#include "tests/cuda_host/device.h"
#include "tests/cuda_host/tensor_cores.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace {

struct Matrix {
  const float* data;
  bool transposed;
  int leading;
  Matrix from(const float* begin) const { return {begin, transposed, leading}; }
  // Element (row, column) of op(matrix), which is stored by columns.
  float at(int row, int column) const {
    return transposed ? data[column + static_cast<size_t>(row) * leading]
                      : data[row + static_cast<size_t>(column) * leading];
  }
};

struct Product {
  int m, n, k;
  float alpha, beta;
  int leading;  // of c
  cuda_host::Mantissa mantissa;
};

cuda_host::Mantissa mantissa_of(cublasComputeType_t type) {
  if (type == CUBLAS_COMPUTE_32F_FAST_16BF) return cuda_host::Mantissa::bf16;
  return type == CUBLAS_COMPUTE_32F_FAST_TF32 ? cuda_host::Mantissa::tf32 : cuda_host::Mantissa::fp32;
}

Product product_of(int m, int n, int k, const void* alpha, const void* beta, int leading, cublasComputeType_t type) {
  return {m, n, k, *static_cast<const float*>(alpha), *static_cast<const float*>(beta), leading, mantissa_of(type)};
}

// The library's own checks.
bool fits(const Product& p, const Matrix& a, const Matrix& b, int batch) {
  const int rows_a = a.transposed ? p.k : p.m, rows_b = b.transposed ? p.n : p.k;
  return p.m >= 0 && p.n >= 0 && p.k >= 0 && batch >= 0 && a.leading >= std::max(1, rows_a) &&
         b.leading >= std::max(1, rows_b) && p.leading >= std::max(1, p.m);
}

void multiply(const Product& p, const Matrix& a, const Matrix& b, float* c) {
  std::vector<float> row(static_cast<size_t>(p.k)), columns(static_cast<size_t>(p.k) * p.n);
  for (int j = 0; j < p.n; ++j) {
    for (int i = 0; i < p.k; ++i)
      columns[static_cast<size_t>(j) * p.k + i] = cuda_host::round_mantissa(b.at(i, j), p.mantissa);
  }
  for (int i = 0; i < p.m; ++i) {
    for (int l = 0; l < p.k; ++l) row[static_cast<size_t>(l)] = cuda_host::round_mantissa(a.at(i, l), p.mantissa);
    for (int j = 0; j < p.n; ++j) {
      const float* column = columns.data() + static_cast<size_t>(j) * p.k;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int l = 0; l < p.k; ++l) sum += row[static_cast<size_t>(l)] * column[l];
      float& out = c[i + static_cast<size_t>(j) * p.leading];
      out = p.alpha * sum + (p.beta == 0 ? 0 : p.beta * out);
    }
  }
}

}  // namespace

const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                          int n, int k, const void* alpha, const void* a, cudaDataType, int lda,
                                          long long stride_a, const void* b, cudaDataType, int ldb, long long stride_b,
                                          const void* beta, void* c, cudaDataType, int ldc, long long stride_c,
                                          int batch, cublasComputeType_t type, cublasGemmAlgo_t) {
  const Product product = product_of(m, n, k, alpha, beta, ldc, type);
  const Matrix first{static_cast<const float*>(a), op_a == CUBLAS_OP_T, lda};
  const Matrix second{static_cast<const float*>(b), op_b == CUBLAS_OP_T, ldb};
  if (!fits(product, first, second, batch)) return CUBLAS_STATUS_INVALID_VALUE;
  cuda_host::enqueue(handle->stream, [=] {
    for (int i = 0; i < batch; ++i) {
      multiply(product, first.from(first.data + i * stride_a), second.from(second.data + i * stride_b),
               static_cast<float*>(c) + i * stride_c);
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                   int k, const void* alpha, const void* const a[], cudaDataType, int lda,
                                   const void* const b[], cudaDataType, int ldb, const void* beta, void* const c[],
                                   cudaDataType, int ldc, int batch, cublasComputeType_t type, cublasGemmAlgo_t) {
  const Product product = product_of(m, n, k, alpha, beta, ldc, type);
  const Matrix first{nullptr, op_a == CUBLAS_OP_T, lda}, second{nullptr, op_b == CUBLAS_OP_T, ldb};
  if (!fits(product, first, second, batch)) return CUBLAS_STATUS_INVALID_VALUE;
  cuda_host::enqueue(handle->stream, [=] {  // the addresses lie in device memory
    for (int i = 0; i < batch; ++i) {
      multiply(product, first.from(static_cast<const float*>(a[i])), second.from(static_cast<const float*>(b[i])),
               static_cast<float*>(c[i]));
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}
