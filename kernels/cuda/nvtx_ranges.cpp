#include "kernels/cuda/nvtx_ranges.h"

#include <nvtx3/nvToolsExt.h>

namespace hp {

namespace {

nvtxDomainHandle_t handle(void* domain) { return static_cast<nvtxDomainHandle_t>(domain); }

}  // namespace

NvtxRanges::NvtxRanges() : domain_(nvtxDomainCreateA("hp")) {}

NvtxRanges::~NvtxRanges() { nvtxDomainDestroy(handle(domain_)); }

void NvtxRanges::begin(const Activity& activity) {
  const std::string name = activity.name();
  nvtxEventAttributes_t attributes{};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = name.c_str();
  nvtxDomainRangePushEx(handle(domain_), &attributes);
}

void NvtxRanges::end() { nvtxDomainRangePop(handle(domain_)); }

}  // namespace hp
