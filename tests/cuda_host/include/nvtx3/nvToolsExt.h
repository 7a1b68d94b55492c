// Stand-in for <nvtx3/nvToolsExt.h>, for tests: the ranges of a domain, written down for tests
// (tests/cuda_host/nvtx.h).
#pragma once

#include <cstdint>

struct nvtxDomainRegistration_st;
using nvtxDomainHandle_t = nvtxDomainRegistration_st*;
enum nvtxMessageType_t { NVTX_MESSAGE_UNKNOWN = 0, NVTX_MESSAGE_TYPE_ASCII = 1 };
union nvtxMessageValue_t {
  const char* ascii;
};
struct nvtxEventAttributes_t {
  uint16_t version, size;
  int32_t messageType;
  nvtxMessageValue_t message;
};
inline constexpr uint16_t NVTX_VERSION = 3;
inline constexpr uint16_t NVTX_EVENT_ATTRIB_STRUCT_SIZE = sizeof(nvtxEventAttributes_t);

nvtxDomainHandle_t nvtxDomainCreateA(const char* name);  // null where no profiler is in the process
void nvtxDomainDestroy(nvtxDomainHandle_t);
int nvtxDomainRangePushEx(nvtxDomainHandle_t, const nvtxEventAttributes_t*);
int nvtxDomainRangePop(nvtxDomainHandle_t);
