#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/nvtx_ranges.h"
#include "runtime/error.h"
#include "tools/device.h"

namespace hp {

OpenedDevice open_device(const Experiment& experiment) {
  const std::string& name = experiment.device;
  if (name == "cpu") return open_cpu(experiment);
  const int index = name == "cuda" ? 0 : name.back() - '0';  // the schema knows cuda:0 to cuda:7
  auto kernels = std::make_unique<CudaKernels>(CudaOptions{.device = index});
  const std::string engine = fmt::format("cuda, {}, float32", kernels->device_name());
  return {std::move(kernels), engine};
}

std::unique_ptr<Observer> open_ranges() {
  auto ranges = std::make_unique<NvtxRanges>();
  if (!ranges->is_watched()) return nullptr;
  return ranges;
}

}  // namespace hp
