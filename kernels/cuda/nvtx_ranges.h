// NvtxRanges: an observer that marks what it is told of as ranges for NVIDIA's profilers (nsys, ncu).
#pragma once

#include "runtime/observer.h"

namespace hp {

// Ranges have the activities' own names (runtime/observer.h), nest on each thread as these do, and lie in the NVTX
// domain "hp". A range covers the time in which the host queues the work; profilers relate the kernels to it.
class NvtxRanges final : public Observer {
 public:
  NvtxRanges();
  ~NvtxRanges() override;
  NvtxRanges(const NvtxRanges&) = delete;
  NvtxRanges& operator=(const NvtxRanges&) = delete;

  bool is_watched() const { return domain_ != nullptr; }  // a profiler has loaded itself into this process

  void begin(const Activity& activity) override;
  void end() override;

 private:
  void* domain_;
};

}  // namespace hp
