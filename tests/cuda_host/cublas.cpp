#include <cublas_v2.h>

#include <vector>

#include "tests/cuda_host/device.h"
#include "tests/cuda_host/tensor_cores.h"

namespace {

struct Matrix {
  const float* data;
  bool transposed;
  int leading;
  long long stride;
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
  *handle = nullptr;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                          int k, const void* alpha, const void* a, cudaDataType, int lda,
                                          long long stride_a, const void* b, cudaDataType, int ldb, long long stride_b,
                                          const void* beta, void* c, cudaDataType, int ldc, long long stride_c,
                                          int batch, cublasComputeType_t type, cublasGemmAlgo_t) {
  const bool transpose_a = op_a == CUBLAS_OP_T, transpose_b = op_b == CUBLAS_OP_T;
  const int rows_a = transpose_a ? k : m, rows_b = transpose_b ? n : k;
  // The library's own checks.
  if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max(1, rows_a) || ldb < std::max(1, rows_b) ||
      ldc < std::max(1, m)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const Product product{
      m, n, k, *static_cast<const float*>(alpha), *static_cast<const float*>(beta), ldc, mantissa_of(type)};
  const Matrix first{static_cast<const float*>(a), transpose_a, lda, stride_a};
  const Matrix second{static_cast<const float*>(b), transpose_b, ldb, stride_b};
  cuda_host::enqueue([=] {
    for (int i = 0; i < batch; ++i) {
      Matrix left = first, right = second;
      left.data += i * left.stride;
      right.data += i * right.stride;
      multiply(product, left, right, static_cast<float*>(c) + i * stride_c);
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}
