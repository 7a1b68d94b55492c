// Stand-in for <cuda_runtime.h>, for tests: CUDA kernels run on the host as ordinary C++.
//
// Every CUDA thread is a fiber (simt/machine.h); device memory is host memory that only device code may touch
// (simt/device.h). Names and meanings are NVIDIA's. Only what the project's kernels use is here: anything else fails to
// compile, which is the point.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

// Blocks run one at a time, so a static variable is one block's shared variable.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__ __restrict

// --- vectors and coordinates
struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

// --- the runtime's functions
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorLaunchFailure = 719,
};
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum : unsigned { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
struct CUstream_st;
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
struct cudaLaunchAttribute;
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int*);
cudaError_t cudaSetDevice(int);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int);
cudaError_t cudaMalloc(void**, size_t);
cudaError_t cudaFree(void*);
cudaError_t cudaMallocHost(void**, size_t);
cudaError_t cudaFreeHost(void*);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t cudaMemsetAsync(void*, int byte, size_t, cudaStream_t);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t*, unsigned);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t*, unsigned);
cudaError_t cudaEventDestroy(cudaEvent_t);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventSynchronize(cudaEvent_t);
template <class F>
cudaError_t cudaFuncSetAttribute(F*, cudaFuncAttribute, int) {
  return cudaSuccess;
}

// --- what the functions below ask of the emulator
namespace cuda_host {

struct Where {
  const char* file;
  int line;
};

void block_barrier(Where);
// All lanes' values once every live lane of the mask has brought its own.
const uint64_t* warp_exchange(unsigned mask, uint64_t value, Where);
int lane();
void* dynamic_shared();
cudaError_t launch(const cudaLaunchConfig_t&, std::function<void()> thread);

template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace cuda_host

template <class... Expected, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...), Given&&... arguments) {
  return cuda_host::launch(*config, [kernel, packed = std::tuple<Expected...>(std::forward<Given>(arguments)...)] {
    std::apply(kernel, packed);
  });
}

// --- device functions; `at` is the line that calls, for reports of divergence
inline void __syncthreads(cuda_host::Where at = {__builtin_FILE(), __builtin_LINE()}) { cuda_host::block_barrier(at); }
inline void __syncwarp(unsigned mask = ~0U, cuda_host::Where at = {__builtin_FILE(), __builtin_LINE()}) {
  cuda_host::warp_exchange(mask, 0, at);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              cuda_host::Where at = {__builtin_FILE(), __builtin_LINE()}) {
  const int group = cuda_host::lane() / width * width;
  return cuda_host::from_bits<T>(cuda_host::warp_exchange(mask, cuda_host::to_bits(value), at)[group + source % width]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  cuda_host::Where at = {__builtin_FILE(), __builtin_LINE()}) {
  const int self = cuda_host::lane(), from = self ^ bits;
  const uint64_t* all = cuda_host::warp_exchange(mask, cuda_host::to_bits(value), at);
  return from / width <= self / width ? cuda_host::from_bits<T>(all[from]) : value;
}

inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline int __float_as_int(float x) { return cuda_host::from_bits<int>(cuda_host::to_bits(x)); }
inline float __int_as_float(int x) { return cuda_host::from_bits<float>(cuda_host::to_bits(x)); }
inline unsigned __float_as_uint(float x) { return cuda_host::from_bits<unsigned>(cuda_host::to_bits(x)); }
inline float __uint_as_float(unsigned x) { return cuda_host::from_bits<float>(cuda_host::to_bits(x)); }
