#include <cudnn.h>

#include <vector>

#include "tests/cuda_host/device.h"

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

void forward(const Convolution& p, const float* x, const float* w, float* y) {
  for_products(p, [=](int channels, size_t xi, size_t wi, size_t yi) {
    float sum = 0;
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

// Some bytes, so that a workspace that was not provided is noticed.
cudnnStatus_t workspace(size_t* bytes) {
  *bytes = 64;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS     ? "CUDNN_STATUS_SUCCESS"
         : status == CUDNN_STATUS_BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM"
                                            : "CUDNN_STATUS_NOT_SUPPORTED";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = nullptr;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t) { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_SUCCESS; }
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
  *d = {pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, d->groups};
  return mode == CUDNN_CROSS_CORRELATION ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t d, int groups) {
  d->groups = groups;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t) {
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t d, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t, double) {
  d->mode = mode;
  return CUDNN_STATUS_SUCCESS;
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

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t, const void* alpha, cudnnTensorDescriptor_t xd, const void* x,
                                      cudnnFilterDescriptor_t wd, const void* w, cudnnConvolutionDescriptor_t cd,
                                      cudnnConvolutionFwdAlgo_t, void* scratch, size_t scratch_bytes, const void* beta,
                                      cudnnTensorDescriptor_t yd, void* y) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha) != 1) return CUDNN_STATUS_BAD_PARAM;
  cuda_host::enqueue([=, keep = number(beta)] {
    scale(static_cast<float*>(y), p.y.count(), keep);
    forward(p, static_cast<const float*>(x), static_cast<const float*>(w), static_cast<float*>(y));
  });
  return CUDNN_STATUS_SUCCESS;
}

// As in cuDNN's own tables, not every shape is supported: here dilated ones are not, so that callers have another way.
cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t, const void* alpha1, cudnnTensorDescriptor_t xd, const void* x, cudnnFilterDescriptor_t wd,
    const void* w, cudnnConvolutionDescriptor_t cd, cudnnConvolutionFwdAlgo_t, void* scratch, size_t scratch_bytes,
    const void* alpha2, cudnnTensorDescriptor_t zd, const void* z, cudnnTensorDescriptor_t bias_d, const void* bias,
    cudnnActivationDescriptor_t activation, cudnnTensorDescriptor_t yd, void* y) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (cd->dilation_h > 1 || cd->dilation_w > 1) return CUDNN_STATUS_NOT_SUPPORTED;
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha1) != 1 || !z || !bias || bias_d->c != p.y.c ||
      bias_d->count() != static_cast<size_t>(p.y.c) || zd->count() != p.y.count()) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  cuda_host::enqueue([=, share = number(alpha2), mode = activation->mode] {
    auto* out = static_cast<float*>(y);
    const auto* addend = static_cast<const float*>(z);
    std::vector<float> sums(p.y.count());
    forward(p, static_cast<const float*>(x), static_cast<const float*>(w), sums.data());
    for (size_t i = 0; i < sums.size(); ++i) {
      const float value = sums[i] + static_cast<const float*>(bias)[i % p.y.c] + (share == 0 ? 0 : share * addend[i]);
      out[i] = mode == CUDNN_ACTIVATION_RELU && value < 0 ? 0 : value;
    }
  });
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t, const void* alpha, cudnnFilterDescriptor_t wd, const void* w,
                                           cudnnTensorDescriptor_t yd, const void* dy, cudnnConvolutionDescriptor_t cd,
                                           cudnnConvolutionBwdDataAlgo_t, void* scratch, size_t scratch_bytes,
                                           const void* beta, cudnnTensorDescriptor_t xd, void* dx) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha) != 1) return CUDNN_STATUS_BAD_PARAM;
  cuda_host::enqueue([=, keep = number(beta)] {
    auto* out = static_cast<float*>(dx);
    const auto *weight = static_cast<const float*>(w), *message = static_cast<const float*>(dy);
    scale(out, p.x.count(), keep);
    for_products(p, [=](int channels, size_t xi, size_t wi, size_t yi) {
      for (int c = 0; c < channels; ++c) out[xi + c] += message[yi] * weight[wi + c];
    });
  });
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t, const void* alpha, cudnnTensorDescriptor_t xd,
                                             const void* x, cudnnTensorDescriptor_t yd, const void* dy,
                                             cudnnConvolutionDescriptor_t cd, cudnnConvolutionBwdFilterAlgo_t,
                                             void* scratch, size_t scratch_bytes, const void* beta,
                                             cudnnFilterDescriptor_t wd, void* dw) {
  const Convolution p{*xd, *yd, *wd, *cd};
  if (!p.fits() || !scratch || scratch_bytes < 64 || number(alpha) != 1) return CUDNN_STATUS_BAD_PARAM;
  cuda_host::enqueue([=, keep = number(beta)] {
    auto* out = static_cast<float*>(dw);
    const auto *input = static_cast<const float*>(x), *message = static_cast<const float*>(dy);
    scale(out, p.w.count(), keep);
    for_products(p, [=](int channels, size_t xi, size_t wi, size_t yi) {
      for (int c = 0; c < channels; ++c) out[wi + c] += message[yi] * input[xi + c];
    });
  });
  return CUDNN_STATUS_SUCCESS;
}
