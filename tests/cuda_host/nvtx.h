// A profiler for tests: what the stand-in for NVTX is told.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cuda_host {

struct NvtxRange {
  std::string domain, name;
  size_t depth = 0;     // ranges around it on its thread
  size_t launches = 0;  // kernels that were launched within it
};

// While one lives, a profiler is in the process.
class NvtxProfiler {
 public:
  NvtxProfiler();
  ~NvtxProfiler();
  NvtxProfiler(const NvtxProfiler&) = delete;
  NvtxProfiler& operator=(const NvtxProfiler&) = delete;

  std::vector<NvtxRange> ranges() const;  // in the order in which they began
  size_t open() const;                    // that have not ended
};

}  // namespace cuda_host
