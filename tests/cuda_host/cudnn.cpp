#include <cudnn.h>

#include <vector>

#include "tests/cuda_host/cudnn.h"
#include "tests/cuda_host/device.h"
#include "tests/cuda_host/tensor_cores.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
  int n = 0, c = 0, h = 0, w = 0;
  size_t count() const { return static_cast<size_t>(n) * c * h * w; }
  size_t at(int image, int row, int column) const {  // the first channel of a pixel
    return ((static_cast<size_t>(image) * h + row) * w + column) * c;
  }
};
struct cudnnFilterStruct {
  int k = 0, c = 0, h = 0, w = 0;
  size_t count() const { return static_cast<size_t>(k) * c * h * w; }
};
struct cudnnConvolutionStruct {
  int pad_h = 0, pad_w = 0, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, groups = 1;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
struct cudnnActivationStruct {
  cudnnActivationMode_t mode = CUDNN_ACTIVATION_IDENTITY;
};

namespace {

struct Convolution {
  cudnnTensorStruct x, y;
  cudnnFilterStruct w;
  cudnnConvolutionStruct conv;

  bool fits() const {
    const auto out = [](int in, int pad, int kernel, int dilation, int stride) {
      return (in + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
    };
    return x.n == y.n && y.c == w.k && x.c == w.c * conv.groups && w.k % conv.groups == 0 &&
           y.h == out(x.h, conv.pad_h, w.h, conv.dilation_h, conv.stride_h) &&
           y.w == out(x.w, conv.pad_w, w.w, conv.dilation_w, conv.stride_w);
  }
  // The library's default for float on a GPU with tensor cores.
  cuda_host::Mantissa mantissa() const {
    return conv.math == CUDNN_FMA_MATH ? cuda_host::Mantissa::fp32 : cuda_host::Mantissa::tf32;
  }
};

// visit(channels, index of x, index of w, index of y) for every run of channels that meet in one product sum.
template <class Visit>
void for_products(const Convolution& p, Visit visit) {
  const int filters = p.w.k / p.conv.groups;
  for (int image = 0; image < p.y.n; ++image) {
    for (int i = 0; i < p.y.h * p.y.w; ++i) {
      const int top = i / p.y.w * p.conv.stride_h - p.conv.pad_h, left = i % p.y.w * p.conv.stride_w - p.conv.pad_w;
      for (int tap = 0; tap < p.w.h * p.w.w; ++tap) {
        const int row = top + tap / p.w.w * p.conv.dilation_h, column = left + tap % p.w.w * p.conv.dilation_w;
        if (row < 0 || row >= p.x.h || column < 0 || column >= p.x.w) continue;
        for (int k = 0; k < p.w.k; ++k) {
          visit(p.w.c, p.x.at(image, row, column) + static_cast<size_t>(k / filters) * p.w.c,
                (static_cast<size_t>(k) * p.w.h * p.w.w + tap) * p.w.c,
                p.y.at(image, 0, 0) + static_cast<size_t>(i) * p.y.c + k);
        }
      }
    }
  }
}

void scale(float* values, size_t count, float factor) {
  for (size_t i = 0; i < count; ++i) values[i] = factor == 0 ? 0 : factor * values[i];
}

void forward(const Convolution& p, const void* input, const void* weight, float* y) {
  const cuda_host::ProductInput in(static_cast<const float*>(input), p.x.count(), p.mantissa());
  const cuda_host::ProductInput filters(static_cast<const float*>(weight), p.w.count(), p.mantissa());
  for_products(p, [=, x = in.data(), w = filters.data()](int channels, size_t xi, size_t wi, size_t yi) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < channels; ++c) sum += x[xi + c] * w[wi + c];
    y[yi] += sum;
  });
}

float number(const void* pointer) { return *static_cast<const float*>(pointer); }

template <class T>
cudnnStatus_t create(T** descriptor) {
  *descriptor = new T;
  return CUDNN_STATUS_SUCCESS;
}

template <class T>
cudnnStatus_t destroy(T* descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}

// Both algorithms, the faster one first, and behind them the first one with another kind of math.
template <class Algorithm>
cudnnStatus_t measure(const cudnnConvolutionStruct* conv, int most, int* count, CudnnPerformance<Algorithm>* found) {
  cuda_host::CudnnChoice& choice = cuda_host::cudnn_choice();
  ++choice.measurements;
  if (most < 3) return CUDNN_STATUS_BAD_PARAM;
  const auto result = [&](int algorithm, float time, bool deterministic, cudnnMathType_t math) {
    return CudnnPerformance<Algorithm>{static_cast<Algorithm>(algorithm),
                                       CUDNN_STATUS_SUCCESS,
                                       time,
                                       64,
                                       deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC,
                                       math};
  };
  const auto other = conv->math == CUDNN_FMA_MATH ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
  found[0] = result(choice.fastest, 0.5F, true, other);
  found[1] = result(choice.fastest, 1, choice.is_fastest_deterministic, conv->math);
  found[2] = result(1 - choice.fastest, 2, true, conv->math);
  *count = 3;
  return CUDNN_STATUS_SUCCESS;
}

void use(int algorithm) { cuda_host::cudnn_choice().used.push_back(algorithm); }

// Some bytes, so that a workspace that was not provided is noticed.
cudnnStatus_t workspace(size_t* bytes) {
  *bytes = 64;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

namespace cuda_host {

CudnnChoice& cudnn_choice() {
  static CudnnChoice the_choice;
  return the_choice;
}

}  // namespace cuda_host

size_t cudnnGetVersion() { return 90000; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS     ? "CUDNN_STATUS_SUCCESS"
         : status == CUDNN_STATUS_BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM"
                                            : "CUDNN_STATUS_NOT_SUPPORTED";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* d) { return create(d); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d) { return destroy(d); }
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* d) { return create(d); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t d) { return destroy(d); }
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* d) { return create(d); }
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t d) { return destroy(d); }
cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t* d) { return create(d); }
cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t d) { return destroy(d); }

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t d, cudnnTensorFormat_t format, cudnnDataType_t, int n,
                                         int c, int h, int w) {
  if (format != CUDNN_TENSOR_NHWC) return CUDNN_STATUS_NOT_SUPPORTED;
  if (n < 1 || c < 1 || h < 1 || w < 1) return CUDNN_STATUS_BAD_PARAM;
  *d = {n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t d, cudnnDataType_t, cudnnTensorFormat_t format, int k,
                                         int c, int h, int w) {
  if (format != CUDNN_TENSOR_NHWC) return CUDNN_STATUS_NOT_SUPPORTED;
  *d = {k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int pad_h, int pad_w, int stride_h,
                                              int stride_w, int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t) {
  *d = {pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, d->groups, d->math};
  return mode == CUDNN_CROSS_CORRELATION ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t d, int groups) {
  d->groups = groups;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d, cudnnMathType_t math) {
  d->math = math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t d, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t, double) {
  d->mode = mode;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnFindConvolutionForwardAlgorithm(cudnnHandle_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t,
                                                   cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t, int most,
                                                   int* count, cudnnConvolutionFwdAlgoPerf_t* found) {
  return measure(conv, most, count, found);
}
cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithm(cudnnHandle_t, cudnnFilterDescriptor_t, cudnnTensorDescriptor_t,
                                                        cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t,
                                                        int most, int* count,
                                                        cudnnConvolutionBwdDataAlgoPerf_t* found) {
  return measure(conv, most, count, found);
}
cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithm(cudnnHandle_t, cudnnTensorDescriptor_t,
                                                          cudnnTensorDescriptor_t, cudnnConvolutionDescriptor_t conv,
                                                          cudnnFilterDescriptor_t, int most, int* count,
                                                          cudnnConvolutionBwdFilterAlgoPerf_t* found) {
  return measure(conv, most, count, found);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t,
                                                      cudnnConvolutionDescriptor_t, cudnnTensorDescriptor_t,
                                                      cudnnConvolutionFwdAlgo_t, size_t* bytes) {
  return workspace(bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, cudnnFilterDescriptor_t,
                                                           cudnnTensorDescriptor_t, cudnnConvolutionDescriptor_t,
                                                           cudnnTensorDescriptor_t, cudnnConvolutionBwdDataAlgo_t,
                                                           size_t* bytes) {
  return workspace(bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t,
                                                             cudnnTensorDescriptor_t, cudnnConvolutionDescriptor_t,
                                                             cudnnFilterDescriptor_t, cudnnConvolutionBwdFilterAlgo_t,
                                                             size_t* bytes) {
  return workspace(bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t xd,
                                      const void* x, cudnnFilterDescriptor_t wd, const void* w,
                                      cudnnConvolutionDescriptor_t cd, cudnnConvolutionFwdAlgo_t algorithm,
                                      void* scratch, size_t scratch_bytes, const void* beta, cudnnTensorDescriptor_t yd,
                                      void* y) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha) != 1) return CUDNN_STATUS_BAD_PARAM;
  use(algorithm);
  cuda_host::enqueue(handle->stream, [=, keep = number(beta)] {
    scale(static_cast<float*>(y), p.y.count(), keep);
    forward(p, x, w, static_cast<float*>(y));
  });
  return CUDNN_STATUS_SUCCESS;
}

// As in cuDNN's own tables, not every shape is supported: here dilated ones are not, so that callers have another way.
cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t handle, const void* alpha1, cudnnTensorDescriptor_t xd, const void* x, cudnnFilterDescriptor_t wd,
    const void* w, cudnnConvolutionDescriptor_t cd, cudnnConvolutionFwdAlgo_t algorithm, void* scratch,
    size_t scratch_bytes, const void* alpha2, cudnnTensorDescriptor_t zd, const void* z, cudnnTensorDescriptor_t bias_d,
    const void* bias, cudnnActivationDescriptor_t activation, cudnnTensorDescriptor_t yd, void* y) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (cd->dilation_h > 1 || cd->dilation_w > 1) return CUDNN_STATUS_NOT_SUPPORTED;
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha1) != 1 || !z || !bias || bias_d->c != p.y.c ||
      bias_d->count() != static_cast<size_t>(p.y.c) || zd->count() != p.y.count()) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  if (algorithm != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) return CUDNN_STATUS_NOT_SUPPORTED;
  cuda_host::enqueue(handle->stream, [=, share = number(alpha2), mode = activation->mode] {
    auto* out = static_cast<float*>(y);
    const auto* addend = static_cast<const float*>(z);
    std::vector<float> sums(p.y.count());
    forward(p, x, w, sums.data());
    for (size_t i = 0; i < sums.size(); ++i) {
      const float value = sums[i] + static_cast<const float*>(bias)[i % p.y.c] + (share == 0 ? 0 : share * addend[i]);
      out[i] = mode == CUDNN_ACTIVATION_RELU && value < 0 ? 0 : value;
    }
  });
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha, cudnnFilterDescriptor_t wd,
                                           const void* w, cudnnTensorDescriptor_t yd, const void* dy,
                                           cudnnConvolutionDescriptor_t cd, cudnnConvolutionBwdDataAlgo_t algorithm,
                                           void* scratch, size_t scratch_bytes, const void* beta,
                                           cudnnTensorDescriptor_t xd, void* dx) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha) != 1) return CUDNN_STATUS_BAD_PARAM;
  use(algorithm);
  cuda_host::enqueue(handle->stream, [=, keep = number(beta)] {
    auto* out = static_cast<float*>(dx);
    const cuda_host::ProductInput filters(static_cast<const float*>(w), p.w.count(), p.mantissa());
    const cuda_host::ProductInput messages(static_cast<const float*>(dy), p.y.count(), p.mantissa());
    scale(out, p.x.count(), keep);
    for_products(
        p, [=, weight = filters.data(), message = messages.data()](int channels, size_t xi, size_t wi, size_t yi) {
          for (int c = 0; c < channels; ++c) out[xi + c] += message[yi] * weight[wi + c];
        });
  });
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t xd,
                                             const void* x, cudnnTensorDescriptor_t yd, const void* dy,
                                             cudnnConvolutionDescriptor_t cd, cudnnConvolutionBwdFilterAlgo_t algorithm,
                                             void* scratch, size_t scratch_bytes, const void* beta,
                                             cudnnFilterDescriptor_t wd, void* dw) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha) != 1) return CUDNN_STATUS_BAD_PARAM;
  use(algorithm);
  cuda_host::enqueue(handle->stream, [=, keep = number(beta)] {
    auto* out = static_cast<float*>(dw);
    const cuda_host::ProductInput inputs(static_cast<const float*>(x), p.x.count(), p.mantissa());
    const cuda_host::ProductInput messages(static_cast<const float*>(dy), p.y.count(), p.mantissa());
    scale(out, p.w.count(), keep);
    for_products(p,
                 [=, input = inputs.data(), message = messages.data()](int channels, size_t xi, size_t wi, size_t yi) {
                   for (int c = 0; c < channels; ++c) out[wi + c] += message[yi] * input[xi + c];
                 });
  });
  return CUDNN_STATUS_SUCCESS;
}
