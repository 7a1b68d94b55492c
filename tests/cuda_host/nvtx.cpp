#include "tests/cuda_host/nvtx.h"

#include <nvtx3/nvToolsExt.h>

#include <map>
#include <mutex>
#include <thread>

#include "tests/cuda_host/device.h"

struct nvtxDomainRegistration_st {
  std::string name;
};

namespace cuda_host {

namespace {

struct Recording {
  std::mutex mutex;  // guards everything below
  bool profiled = false;
  std::vector<NvtxRange> ranges;
  std::map<std::thread::id, std::vector<size_t>> open;  // of every thread, the innermost last
};

Recording& recording() {
  static Recording the_recording;
  return the_recording;
}

}  // namespace

NvtxProfiler::NvtxProfiler() {
  const std::scoped_lock lock(recording().mutex);
  recording().profiled = true;
  recording().ranges.clear();
  recording().open.clear();
}

NvtxProfiler::~NvtxProfiler() {
  const std::scoped_lock lock(recording().mutex);
  recording().profiled = false;
}

std::vector<NvtxRange> NvtxProfiler::ranges() const {
  const std::scoped_lock lock(recording().mutex);
  return recording().ranges;
}

size_t NvtxProfiler::open() const {
  const std::scoped_lock lock(recording().mutex);
  size_t count = 0;
  for (const auto& [thread, open] : recording().open) count += open.size();
  return count;
}

}  // namespace cuda_host

using cuda_host::recording;

nvtxDomainHandle_t nvtxDomainCreateA(const char* name) {
  const std::scoped_lock lock(recording().mutex);
  return recording().profiled ? new nvtxDomainRegistration_st{name} : nullptr;
}

void nvtxDomainDestroy(nvtxDomainHandle_t domain) { delete domain; }

int nvtxDomainRangePushEx(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* attributes) {
  constexpr int no_level = -2;
  if (!domain || attributes->version != NVTX_VERSION || attributes->size != NVTX_EVENT_ATTRIB_STRUCT_SIZE ||
      attributes->messageType != NVTX_MESSAGE_TYPE_ASCII) {
    return no_level;
  }
  const std::scoped_lock lock(recording().mutex);
  std::vector<size_t>& open = recording().open[std::this_thread::get_id()];
  recording().ranges.push_back({domain->name, attributes->message.ascii, open.size(), cuda_host::launches()});
  open.push_back(recording().ranges.size() - 1);
  return static_cast<int>(open.size()) - 1;
}

int nvtxDomainRangePop(nvtxDomainHandle_t domain) {
  constexpr int no_level = -2;
  const std::scoped_lock lock(recording().mutex);
  std::vector<size_t>& open = recording().open[std::this_thread::get_id()];
  if (!domain || open.empty()) return no_level;
  cuda_host::NvtxRange& range = recording().ranges[open.back()];
  range.launches = cuda_host::launches() - range.launches;
  open.pop_back();
  return static_cast<int>(open.size());
}
