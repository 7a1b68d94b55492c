#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/nvtx_ranges.h"
#include "runtime/error.h"
#include "tools/device.h"

namespace hp {

namespace {

MathMode math_of(const Experiment& experiment) {
  if (experiment.math == "bf16") return MathMode::bf16;
  return experiment.math == "tf32" ? MathMode::tf32 : MathMode::fp32;  // the schema knows no others
}

}  // namespace

OpenedDevice open_device(const Experiment& experiment, const std::filesystem::path& cache) {
  const std::string& name = experiment.device;
  if (name == "cpu") return open_cpu(experiment, cache);
  const int index = name == "cuda" ? 0 : name.back() - '0';  // the schema knows cuda:0 to cuda:7
  auto kernels = std::make_unique<CudaKernels>(CudaOptions{
      .device = index, .math = math_of(experiment), .algorithms = (cache / "convolution-algorithms.txt").string()});
  const std::string engine = fmt::format("cuda, {}, {}", kernels->device_name(), experiment.math);
  return {std::move(kernels), engine};
}

std::unique_ptr<Observer> open_ranges() {
  auto ranges = std::make_unique<NvtxRanges>();
  if (!ranges->is_watched()) return nullptr;
  return ranges;
}

}  // namespace hp
