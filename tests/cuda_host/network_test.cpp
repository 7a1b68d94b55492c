// Networks through Executor and Propagator on the CUDA kernels, against the CPU, with device memory out of the host's
// reach.
#include <doctest/doctest.h>

#include <map>
#include <memory>

#include "attribution/composites.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/nvtx_ranges.h"
#include "runtime/executor.h"
#include "runtime/fold.h"
#include "runtime/observers.h"
#include "runtime/propagator.h"
#include "tests/cuda_host/arrays.h"
#include "tests/cuda_host/device.h"
#include "tests/cuda_host/machine.h"
#include "tests/cuda_host/nvtx.h"
#include "tests/support/small_nets.h"
#include "tools/trace/recorder.h"

namespace hp {

namespace {

using test::to_cpu;
using test::to_device;

constexpr int64_t batch = 2;
constexpr int targets = 3;

struct Results {
  Tensor logits, gradient;
};

// Logits of the small ResNet, and the gradients of three sums of them by the image.
Results run_network(Kernels& kernels) {
  const Graph graph = testing::small_resnet(batch);
  const Parameters parameters = on_device(testing::formula_parameters(graph), kernels);
  Executor executor(graph, parameters, kernels, Keep::everything);
  const Activations activations =
      executor.run(to_device(kernels, testing::formula_tensor("image", {batch, 8, 8, 3}, 0.5f, 0.5f)));
  const int logits = graph.find("logits"), image = graph.find("image");
  const Shape& shape = graph.node(logits).shape;
  const Tensor seed = to_device(kernels, testing::formula_tensor("seed", shape.with(0, shape[0] * targets)));
  Propagator walk(graph, Composite(), kernels);
  const Entry entry{logits, {seed, Form::multiplier, targets}};
  const Tap tap{image};
  const RelevanceTrace trace = walk.run(walk.prepare(activations), {&entry, 1}, {&tap, 1});
  return {to_cpu(kernels, activations.value(logits)), to_cpu(kernels, trace.at(image).data)};
}

}  // namespace

TEST_CASE("a small ResNet gives the CPU's logits and gradients, in any order of the threads") {
  CpuKernels cpu;
  const Results want = run_network(cpu);
  cuda_host::machinery().guard = true;
  for (const auto schedule :
       {cuda_host::Schedule::forward, cuda_host::Schedule::reverse, cuda_host::Schedule::shuffled}) {
    cuda_host::set_schedule(schedule);
    CudaKernels cuda;
    const Results got = run_network(cuda);
    CHECK(testing::relative_error(got.logits, want.logits) < 1e-5);
    CHECK(testing::relative_error(got.gradient, want.gradient) < 1e-5);
  }
  cuda_host::set_schedule(cuda_host::Schedule::forward);
  cuda_host::machinery().guard = false;
}

TEST_CASE("a profiler's ranges have the names of the CPU's trace, nest, and hold the kernels of their nodes") {
  CpuKernels cpu;
  Recorder recorder;
  cpu.observe(&recorder);
  run_network(cpu);
  std::map<std::string, int> want, got;
  const Trace trace = recorder.trace();
  for (const TraceEvent& event : trace.events) ++want[trace.labels[static_cast<size_t>(event.label)].name];

  const cuda_host::NvtxProfiler profiler;
  NvtxRanges ranges;
  Recorder beside;
  Observers observers;
  observers.add(ranges);
  observers.add(beside);
  REQUIRE(ranges.is_watched());
  CudaKernels cuda;
  cuda.observe(&observers);
  run_network(cuda);
  CHECK(profiler.open() == 0);
  std::map<size_t, size_t> launches;  // by depth
  for (const cuda_host::NvtxRange& range : profiler.ranges()) {
    CAPTURE(range.name);
    ++got[range.name];
    launches[range.depth] += range.launches;
    CHECK(range.domain == "hp");
    CHECK(range.depth == (range.name.find('/') == std::string::npos ? 0 : 1));
    // Convolutions are the library's kernels; the stand-in counts the project's own.
    if (range.name == "forward/maxpool") CHECK(range.launches == 1);
  }
  CHECK(got == want);
  CHECK(got["forward"] == 1);
  CHECK(got["forward/conv2"] == 1);
  CHECK(got["vjp/conv2"] == 1);
  CHECK(launches[1] > 20);
  CHECK(launches[0] == launches[1]);  // no kernel of a pass lies outside the ranges of its nodes
  CHECK(beside.trace().events.size() == trace.events.size());
}

TEST_CASE("without a profiler nothing is marked") {
  NvtxRanges ranges;
  CHECK_FALSE(ranges.is_watched());
  ranges.begin({"forward"});  // and nothing goes wrong
  ranges.end();
}

}  // namespace hp
