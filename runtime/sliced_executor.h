// SlicedExecutor: one value of a graph for a large batch, computed a few images at a time.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "runtime/executor.h"

namespace hp {

// On a CPU the values between two layers of a large batch are written to memory and read back; those of a few images
// stay in its caches. Slices are as even as they come and keep the plan's arena within `arena_bytes`, or hold one
// image; other devices take the batch whole. Bits depend on the shapes and on the machine's caches. Ops must treat
// every image by itself, as frozen networks do. The graph's parameters and the kernels must outlive the object.
class SlicedExecutor {
 public:
  // Half of the last-level cache, from 24 to 64 MiB.
  static size_t cache_bytes();

  // `output`: the node whose value run() gives. `graph` has one input.
  SlicedExecutor(const Graph& graph, const Parameters& parameters, Kernels& kernels, std::string output,
                 size_t arena_bytes = cache_bytes());

  // [batch, ...] of the graph's batch size, on the kernels' device; good until the next run.
  Tensor run(const Tensor& input);
  // Scratch memory for the caller, and what the executors hold.
  Context context() { return {kernels_, pool_}; }
  int64_t slice() const { return slice_; }

 private:
  struct Part {
    Graph graph;
    std::unique_ptr<Executor> executor;
  };
  Part& part(int64_t batch);

  Graph graph_;
  const Parameters& parameters_;
  Kernels& kernels_;
  std::string output_;
  ArenaPool pool_;
  int64_t batch_, slice_;
  std::map<int64_t, Part> parts_;  // by images: full slices and the last
  Activations last_;               // of a batch that is one slice
};

}  // namespace hp
