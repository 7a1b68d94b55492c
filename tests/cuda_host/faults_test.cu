// Kernels and host code with the mistakes that people make. The emulation must notice every one of them: this is what
// entitles the other tests to trust it.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/launch.cuh"
#include "runtime/error.h"
#include "tests/cuda_host/device.h"
#include "tests/cuda_host/machine.h"

namespace hp {

namespace {

using cuda_host::Schedule;

constexpr int count = 256;

// Static shared memory keeps what the launch before has left there; a salt per launch tells the values apart.

// BlockTeam::reduce without its last barrier: the second call writes what slow threads of the first still read.
__device__ float hasty_sum(float value) {
  __shared__ float partial[32];
  const unsigned lane = threadIdx.x % 32;
  value = warp_reduce(value, Sum());
  if (lane == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_reduce(lane < blockDim.x / 32 ? partial[lane] : 0.0f, Sum());
}
__global__ void missing_last_barrier(float* out, float salt) {
  const float first = hasty_sum(1), second = hasty_sum(2 + salt);
  if (threadIdx.x == blockDim.x - 1) out[0] = first + second;
}

// Every warp reads what another one has written.
__global__ void missing_barrier(float* out, float salt) {
  __shared__ float values[count];
  values[threadIdx.x] = static_cast<float>(threadIdx.x) + salt;
  out[threadIdx.x] = values[(threadIdx.x + 32) % count];
}

// Believes that the lanes of a warp run in lock step.
__global__ void missing_syncwarp(float* out, float salt) {
  __shared__ float values[32];
  values[threadIdx.x] = static_cast<float>(threadIdx.x) + salt;
  out[threadIdx.x] = values[31 - threadIdx.x];
}

// Half of the warp waits at a barrier, half in a shuffle.
__global__ void divergent_barrier(float* out) {
  if (threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, static_cast<float>(threadIdx.x), 1);
}

// Two barriers in two branches: each is reached by some threads only.
__global__ void two_barriers(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void unwritten_shared(float* out) { out[threadIdx.x] = dynamic_shared<float>()[threadIdx.x]; }
__global__ void out_of_bounds(float* out, int n) { out[n + static_cast<int>(threadIdx.x)] = 1; }
__global__ void misaligned(float* out) { store<4>(Pack<4>{{1, 2, 3, 4}}, out + 1); }
__global__ void doubled(const float* in, float* out) { out[threadIdx.x] = 2 * in[threadIdx.x]; }
__global__ void constant(float* out, float value) { out[threadIdx.x] = value; }

// A state, a device array of `count` floats, and the array's values as the device has them.
struct Bench {
  CudaState state{CudaOptions()};
  Storage storage = allocate_on_device(count * sizeof(float));
  float* data() const { return reinterpret_cast<float*>(storage.data()); }
  std::vector<float> fetch() {
    std::vector<float> values(count);
    state.download(data(), count * sizeof(float), values.data());
    return values;
  }
};

// In how many of the three schedules a kernel gives other values than wanted(i, salt).
int wrong_schedules(unsigned threads, void (*kernel)(float*, float), const std::function<float(int, float)>& want,
                    int checked) {
  int wrong = 0;
  float salt = 0;
  for (const Schedule schedule : {Schedule::forward, Schedule::reverse, Schedule::shuffled}) {
    cuda_host::set_schedule(schedule);
    Bench bench;
    salt += 1000;
    launch(bench.state, "a faulty kernel", {dim3(1), dim3(threads)}, kernel, bench.data(), salt);
    const std::vector<float> got = bench.fetch();
    bool right = true;
    for (int i = 0; i < checked; ++i) right = right && got[static_cast<size_t>(i)] == want(i, salt);
    wrong += right ? 0 : 1;
  }
  cuda_host::set_schedule(Schedule::forward);
  return wrong;
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Whether a child process that does this dies of it: by a signal, or by a sanitizer's report.
bool dies(const std::function<void()>& action) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGBUS, SIG_DFL);
    if (!std::freopen("/dev/null", "w", stderr)) _exit(0);
    try {
      action();
    } catch (const std::exception&) {
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

}  // namespace

TEST_CASE("a missing barrier gives wrong results in some schedule") {
  const auto shifted = [](int i, float salt) { return static_cast<float>((i + 32) % count) + salt; };
  const auto mirrored = [](int i, float salt) { return static_cast<float>(31 - i) + salt; };
  const auto sums = [](int, float salt) { return (3.0f + salt) * count; };
  CHECK(wrong_schedules(count, missing_barrier, shifted, count) == 3);
  CHECK(wrong_schedules(32, missing_syncwarp, mirrored, 32) == 3);
  CHECK(wrong_schedules(count, missing_last_barrier, sums, 1) >= 1);
}

TEST_CASE("divergent synchronisation is an error that names the lines") {
  Bench bench;
  const std::string error = error_of([&] {
    launch(bench.state, "divergent_barrier", {dim3(1), dim3(32)}, divergent_barrier, bench.data());
    bench.fetch();
  });
  CHECK(error.find("16 threads wait in __syncthreads at ") != std::string::npos);
  CHECK(error.find("16 threads wait in a warp operation at ") != std::string::npos);
  CHECK(error.find("faults_test.cu:") != std::string::npos);
  const std::string branches = error_of([&] {
    launch(bench.state, "two_barriers", {dim3(1), dim3(64)}, two_barriers, bench.data());
    bench.fetch();
  });
  CHECK(branches.find("32 threads wait in __syncthreads at ") != std::string::npos);
}

TEST_CASE("memory that nothing has written reads as NaN") {
  Bench bench;
  CHECK(std::isnan(bench.fetch()[7]));
  launch(bench.state, "unwritten_shared", {dim3(1), dim3(32), 128}, unwritten_shared, bench.data());
  CHECK(std::isnan(bench.fetch()[7]));
}

TEST_CASE("a host that does not wait reads stale values") {
  Bench bench;
  std::vector<float> host(count, -1);
  launch(bench.state, "constant", {dim3(1), dim3(count)}, constant, bench.data(), 5.0f);
  check(cudaMemcpyAsync(host.data(), bench.data(), count * sizeof(float), cudaMemcpyDeviceToHost, bench.state.stream()),
        "copy");
  CHECK(host[0] == -1);
  check(cudaStreamSynchronize(bench.state.stream()), "wait");
  CHECK(host[0] == 5);
}

TEST_CASE("a stream that does not wait for another's copy reads what was there before") {
  Bench bench;
  Storage source = allocate_on_device(count * sizeof(float));
  auto* from = reinterpret_cast<float*>(source.data());
  const std::vector<float> fives(count, 5);
  bench.state.upload(std::vector<float>(count, -1).data(), count * sizeof(float), from);
  check(cudaStreamSynchronize(bench.state.stream()), "wait");
  cudaStream_t copies = nullptr;
  cudaEvent_t arrived = nullptr;
  check(cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking), "stream");
  check(cudaEventCreateWithFlags(&arrived, cudaEventDisableTiming), "event");
  check(cudaMemcpyAsync(from, fives.data(), count * sizeof(float), cudaMemcpyHostToDevice, copies), "copy");
  check(cudaEventRecord(arrived, copies), "event");
  launch(bench.state, "doubled", {dim3(1), dim3(count)}, doubled, from, bench.data());
  CHECK(bench.fetch()[7] == -2);
  check(cudaStreamWaitEvent(bench.state.stream(), arrived), "wait");
  launch(bench.state, "doubled", {dim3(1), dim3(count)}, doubled, from, bench.data());
  CHECK(bench.fetch()[7] == 10);
  check(cudaEventDestroy(arrived), "event");
  check(cudaStreamDestroy(copies), "stream");
}

TEST_CASE("uploads wait for no kernel before them, keep their order among kernels, and survive their source") {
  Bench bench;
  Storage results = allocate_on_device(size_t{9} * count * sizeof(float));
  auto* result = reinterpret_cast<float*>(results.data());
  bool ran = false;
  cuda_host::enqueue(bench.state.stream(), [&] { ran = true; });
  for (int i = 0; i < 9; ++i) {  // more than there is staging memory for
    std::vector<float> host(count, static_cast<float>(i));
    bench.state.upload(host.data(), count * sizeof(float), bench.data());
    launch(bench.state, "doubled", {dim3(1), dim3(count)}, doubled, bench.data(), result + i * count);
    if (i == 2) CHECK(!ran);
  }
  CHECK(ran);  // the ring of staging memory was full
  std::vector<float> values(size_t{9} * count);
  bench.state.download(result, values.size() * sizeof(float), values.data());
  for (size_t i = 0; i < values.size(); ++i) CHECK(values[i] == 2 * static_cast<float>(i / count));
}

TEST_CASE("a copy in the wrong direction and an impossible launch are errors") {
  Bench bench;
  std::vector<float> host(count);
  CHECK(cudaMemcpyAsync(host.data(), bench.data(), count, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidValue);
  CHECK(error_of([&] {
          launch(bench.state, "constant", {dim3(1), dim3(2048)}, constant, bench.data(), 5.0f);
        }).find("invalid configuration argument") != std::string::npos);
  CHECK(error_of([&] {
          launch(bench.state, "constant", {dim3(1), dim3(32), 1 << 20}, constant, bench.data(), 5.0f);
        }).find("invalid configuration argument") != std::string::npos);
  CHECK(error_of([&] {
          launch(bench.state, "constant", {dim3(1, 70000), dim3(32)}, constant, bench.data(), 5.0f);
        }).find("invalid configuration argument") != std::string::npos);
}

TEST_CASE("writing behind an array, writing across packs and reading device memory on the host are noticed") {
  CHECK(dies([] {
    Bench bench;
    launch(bench.state, "out_of_bounds", {dim3(1), dim3(32)}, out_of_bounds, bench.data(), count);
    bench.fetch();
    check(cudaFree(bench.data()), "cudaFree");
  }));
  CHECK(dies([] {
    Bench bench;
    launch(bench.state, "misaligned", {dim3(1), dim3(1)}, misaligned, bench.data());
    bench.fetch();
  }));
  CHECK(dies([] {
    cuda_host::machinery().guard = true;
    Bench bench;
    launch(bench.state, "constant", {dim3(1), dim3(count)}, constant, bench.data(), 5.0f);
    bench.fetch();
    volatile float value = bench.data()[0];
    (void)value;
  }));
  CHECK(!dies([] {
    Bench bench;
    launch(bench.state, "constant", {dim3(1), dim3(count)}, constant, bench.data(), 5.0f);
    bench.fetch();
  }));
}

TEST_CASE("a machine without a driver, without a device, with too little memory") {
  cuda_host::machinery().driver = false;
  CHECK(error_of([] { CudaKernels kernels; }).find("run with --device cpu") != std::string::npos);
  cuda_host::machinery().driver = true;
  CHECK(error_of([] { CudaKernels kernels({.device = 3}); }).find("got cuda:3; expected cuda:0 to cuda:0") !=
        std::string::npos);
  const size_t before = cuda_host::machinery().memory_bytes;
  CudaKernels kernels;
  cuda_host::machinery().memory_bytes = size_t{64} << 20;
  const std::string error = error_of([&] { kernels.allocate(size_t{100} << 20); });
  CHECK(error.find("expected 100 MiB in one piece") != std::string::npos);
  cuda_host::machinery().memory_bytes = before;
}

}  // namespace hp
