#include "runtime/sliced_executor.h"

#include <unistd.h>

#include <algorithm>

#include "runtime/error.h"

namespace hp {

namespace {

int64_t rounded_up_ratio(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t images_per_slice(const Graph& graph, int output, int64_t batch, size_t arena_bytes) {
  const std::vector<int> pins{output};
  const size_t one = Plan(graph.with_batch(1), Keep::outputs, pins).bytes();
  const auto most = static_cast<int64_t>(arena_bytes / std::max<size_t>(one, 1));
  // As even as they come: a small rest would keep the threads less busy.
  const int64_t slices = rounded_up_ratio(batch, std::clamp<int64_t>(most, 1, batch));
  return rounded_up_ratio(batch, slices);
}

}  // namespace

size_t SlicedExecutor::cache_bytes() {
  constexpr size_t mebibyte = size_t{1} << 20;
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 or -1: unknown
  return std::clamp(cache > 0 ? static_cast<size_t>(cache) / 2 : 0, 24 * mebibyte, 64 * mebibyte);
}

SlicedExecutor::SlicedExecutor(const Graph& graph, const Parameters& parameters, Kernels& kernels, std::string output,
                               size_t arena_bytes)
    : graph_(graph),
      parameters_(parameters),
      kernels_(kernels),
      output_(std::move(output)),
      pool_(kernels),
      batch_(graph.node(graph.inputs().at(0)).shape[0]),
      slice_(kernels.device() == Device::cpu ? images_per_slice(graph, graph.find(output_), batch_, arena_bytes)
                                             : batch_) {
  require(graph.inputs().size() == 1, "[executor] a sliced graph has one input; got {}", graph.inputs().size());
}

SlicedExecutor::Part& SlicedExecutor::part(int64_t batch) {
  Part& part = parts_[batch];
  if (part.executor) return part;
  part.graph = graph_.with_batch(batch);
  const std::vector<int> pins{part.graph.find(output_)};
  part.executor = std::make_unique<Executor>(part.graph, parameters_, kernels_, Keep::outputs, pins);
  return part;
}

Tensor SlicedExecutor::run(const Tensor& input) {
  require(input.shape().rank() > 0 && input.shape()[0] == batch_,
          "[executor] input of another batch; got {}; expected {} images", input.shape().str(), batch_);
  last_ = Activations();
  const int output = graph_.find(output_);
  if (slice_ == batch_) {
    last_ = part(batch_).executor->run(input);
    return last_.value(output);
  }
  Tensor result = pool_.take(graph_.node(output).shape);
  for (int64_t first = 0; first < batch_; first += slice_) {
    const int64_t end = std::min(first + slice_, batch_);
    const Activations some = part(end - first).executor->run(input.rows(first, end));
    const Tensor& value = some.value(output);
    kernels_.copy(value.floats(), value.bytes(), result.rows(first, end).floats());
  }
  return result;
}

}  // namespace hp
